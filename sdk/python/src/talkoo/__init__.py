"""The client of a Talkoo node: pure Python, nothing but the standard library."""

from ._answer import Answer, Stream, receipt
from ._batch import Batch, Result
from ._http import Error
from ._node import Node, connect

__all__ = ["Answer", "Batch", "Error", "Node", "Result", "Stream", "connect", "receipt"]
__version__ = "0.1.0"
