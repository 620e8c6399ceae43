"""The client of a Talkoo node: pure Python, nothing but the standard library."""

from ._answer import Answer, Stream, receipt
from ._batch import Batch, Result
from ._data import Bought, Data, Price, Published, Request
from ._http import Error
from ._map import Map
from ._node import Node, connect

__all__ = ["Answer", "Batch", "Bought", "Data", "Error", "Map", "Node", "Price", "Published", "Request", "Result", "Stream", "connect", "receipt"]
__version__ = "0.1.0"
