"""Judge: the `tokenizers` package, built from a model file's own vocabulary, against `talkoo-engine`'s WordPiece
on lines of mixed text. usage: wordpiece.py PACKAGES"""
import os, subprocess, sys

sys.path.insert(0, sys.argv[1])
from gguf import GGUFReader  # noqa: E402
from lines import lines  # noqa: E402
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors  # noqa: E402

MAX = 256
path = os.path.expanduser("~/.cache/talkoo/models/all-MiniLM-L6-v2.gguf")
if not os.path.exists(path):
    sys.exit(f"no model at {path}; run `talkoo embed minilm hi` once")
field = GGUFReader(path).fields["tokenizer.ggml.tokens"]
tokens = [bytes(field.parts[i]).decode() for i in field.data]
begins = lambda t: t[1:] if t.startswith("\u2581") else t if t.startswith("[") and t.endswith("]") else "##" + t
vocabulary = {begins(t): i for i, t in enumerate(tokens)}
judge = Tokenizer(models.WordPiece(vocab=vocabulary, unk_token="[UNK]", max_input_chars_per_word=100))
judge.normalizer = normalizers.BertNormalizer(lowercase=True)
judge.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
judge.post_processor = processors.BertProcessing(("[SEP]", vocabulary["[SEP]"]), ("[CLS]", vocabulary["[CLS]"]))
judge.enable_truncation(MAX)
texts = lines()
file = os.path.join(sys.argv[1], "wordpiece.txt")
with open(file, "w", newline="") as out:
    out.write("\n".join(texts))
command = ["cargo", "run", "--release", "--quiet", "-p", "talkoo-engine", "--example", "embed", "--", "tokenize", path, file]
ours = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
theirs = judge.encode_batch(texts)
wrong = [l for l, o, t in zip(texts, ours, theirs) if [int(i) for i in o.split()] != t.ids]
print(f"{len(texts) - len(wrong)} of {len(texts)} lines agree" + (f"; first: {wrong[0]!r}" if wrong else ""))
sys.exit(0 if not wrong and len(ours) == len(texts) else 1)
