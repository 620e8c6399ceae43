"""Judge: the texts and token ids that llama.cpp keeps for its own tests, against `talkoo-engine`'s
tokenizers. usage: vocabularies.py FOLDER"""
import os, subprocess, sys, tempfile

FOLDER, BETWEEN = sys.argv[1], "\n__ggml_vocab_test__\n"
NAMES = ["gpt-2", "llama-bpe", "qwen2", "llama-spm", "phi-3"]
COMMAND = ["cargo", "run", "--release", "--quiet", "-p", "talkoo-engine", "--example", "logits", "--"]


def read(path):
    with open(path, encoding="utf-8", newline="") as file:
        return file.read()


failed = False
for name in NAMES:
    model = os.path.join(FOLDER, f"ggml-vocab-{name}.gguf")
    cases = list(zip(read(model + ".inp").split(BETWEEN), read(model + ".out").splitlines()))
    wrong = []
    for text, expected in cases:
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            done = subprocess.run([*COMMAND, model, "tokenize", file.name], capture_output=True, text=True)
        if done.returncode != 0 or done.stdout.split() != expected.split():
            wrong.append(text)
    print(f"{name:10} {len(cases) - len(wrong)} of {len(cases)}" + (f"; first: {wrong[0]!r}" if wrong else ""))
    failed |= bool(wrong) or not cases
sys.exit(1 if failed else 0)
