"""Judge: the `tokenizers` package, built from a model file's own vocabulary and merges, against
`talkoo-engine`'s tokenizer on lines of mixed text. usage: tokenizer.py PACKAGES"""
import os, subprocess, sys

sys.path.insert(0, sys.argv[1])
from gguf import GGUFReader  # noqa: E402
from lines import lines  # noqa: E402
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers  # noqa: E402

path = os.path.expanduser("~/.cache/talkoo/models/SmolLM2-135M-Instruct.Q4_1.gguf")
if not os.path.exists(path):
    sys.exit(f"no model at {path}; run `talkoo run smollm2 hi` once")
fields = GGUFReader(path).fields
text = lambda key: [bytes(fields[key].parts[i]).decode() for i in fields[key].data]
tokens, merges = text("tokenizer.ggml.tokens"), text("tokenizer.ggml.merges")
bpe = models.BPE(vocab={t: i for i, t in enumerate(tokens)}, merges=[tuple(m.split(" ", 1)) for m in merges])
judge = Tokenizer(bpe)
judge.pre_tokenizer = pre_tokenizers.Sequence([
    pre_tokenizers.Digits(individual_digits=True),
    pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
])
lines = lines()
file = os.path.join(sys.argv[1], "lines.txt")
with open(file, "w", newline="") as out:
    out.write("\n".join(lines))
command = ["cargo", "run", "--release", "--quiet", "-p", "talkoo-engine", "--example", "bench", "--", path, "tokenize", file]
ours = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
wrong = [l for l, o in zip(lines, ours) if [int(i) for i in o.split()] != judge.encode(l, add_special_tokens=False).ids]
print(f"{len(lines) - len(wrong)} of {len(lines)} lines agree" + (f"; first: {wrong[0]!r}" if wrong else ""))
sys.exit(0 if not wrong and len(ours) == len(lines) else 1)
