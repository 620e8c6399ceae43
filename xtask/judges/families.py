"""Judge: llama.cpp against `talkoo-engine` on made-up models of every family: the logits after each
token must point the same way. Both sides round activations to 8 bits, which leaves a mean cosine of 0.9989
or more; a window off by one gives 0.975, a factor of 1.25 in the frequencies 0.994. usage: families.py PACKAGES LLAMA-PROGRAM FOLDER"""
import os, subprocess, sys

sys.path.insert(0, sys.argv[1])
import numpy as np  # noqa: E402
from gguf import GGMLQuantizationType, GGUFWriter, quants  # noqa: E402

LLAMA, FOLDER = sys.argv[2], sys.argv[3]
TOKENS, D, FF, HEADS, KV_HEADS = 300, 256, 512, 4, 2
# family: name of the architecture, head dimension, layers, and what else the made-up model has
FAMILIES = {
    "llama": ("llama", 64, 3, {}),
    "llama-f32": ("llama", 64, 3, {"F32"}),
    "llama-3": ("llama", 64, 3, {"factors", "BF16"}),
    "llama-linear": ("llama", 64, 3, {"linear"}),
    "qwen2": ("qwen2", 64, 3, {"bias", "F16"}),
    "qwen3": ("qwen3", 128, 3, {"head norms", "Q4_1"}),
    "gemma3": ("gemma3", 128, 7, {"head norms", "post norms", "window"}),
    "phi3": ("phi3", 64, 3, {"fused"}),
    "gemma3-linear": ("gemma3", 128, 7, {"head norms", "post norms", "window", "linear"}),
}


def byte_names():
    """GPT-2's printable stand-ins for the bytes."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = iter(range(256, 512))
    return [chr(b if b in plain else next(rest)) for b in range(256)]


def metadata(w, arch, dim, layers, has):
    w.add_context_length(512)
    w.add_block_count(layers)
    w.add_embedding_length(D)
    w.add_feed_forward_length(FF)
    w.add_head_count(HEADS)
    w.add_head_count_kv(KV_HEADS)
    w.add_key_length(dim)
    w.add_value_length(dim)
    w.add_rope_dimension_count(dim)
    w.add_rope_freq_base(1e6)
    w.add_layer_norm_rms_eps(1e-6)
    if "window" in has:
        w.add_sliding_window(48)
    if "linear" in has:
        w.add_string(f"{arch}.rope.scaling.type", "linear")
        w.add_float32(f"{arch}.rope.scaling.factor", 8.0)
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("qwen2")
    tokens = byte_names() + ["<s>", "</s>", "ab"]
    tokens += [f"[{i}]" for i in range(TOKENS - len(tokens))]
    w.add_token_list(tokens)
    w.add_token_types([3 if t in ("<s>", "</s>") else 1 for t in tokens])
    w.add_token_merges(["a b"])
    w.add_bos_token_id(256)
    w.add_eos_token_id(257)


def write(path, arch, dim, layers, has, random):
    w = GGUFWriter(path, arch)
    metadata(w, arch, dim, layers, has)

    def matrix(name, rows, columns, size):
        values = random.normal(0, size / columns**0.5, (rows, columns)).astype(np.float32)
        kind = next((k for k in GGMLQuantizationType if k.name in has), GGMLQuantizationType.Q8_0)
        w.add_tensor(name + ".weight", quants.quantize(values, kind), raw_dtype=kind)

    def vector(name, length, middle, size):
        w.add_tensor(name, random.normal(middle, size, length).astype(np.float32))

    q, kv = HEADS * dim, KV_HEADS * dim
    matrix("token_embd", TOKENS, D, 1 if arch == "gemma3" else 16)
    vector("output_norm.weight", D, 1, 0.3)
    if "factors" in has:
        w.add_tensor("rope_freqs.weight", np.geomspace(1, 32, dim // 2).astype(np.float32))
    for l in range(layers):
        b = f"blk.{l}."
        inner = [
            ("attn_q", q, D, 1.3), ("attn_k", kv, D, 1.3), ("attn_v", kv, D, 1), ("ffn_gate", FF, D, 1.5), ("ffn_up", FF, D, 1.5),
        ]
        if "fused" in has:
            inner = [("attn_qkv", q + 2 * kv, D, 1.3), ("ffn_up", 2 * FF, D, 1.5)]
        for name, rows, columns, size in inner + [("attn_output", D, q, 1.5), ("ffn_down", D, FF, 1.5)]:
            matrix(b + name, rows, columns, size)
        vector(b + "attn_norm.weight", D, 1, 0.3)
        vector(b + "ffn_norm.weight", D, 1, 0.3)
        if "bias" in has:
            for name, length in [("attn_q", q), ("attn_k", kv), ("attn_v", kv)]:
                vector(b + name + ".bias", length, 0, 1)
        if "head norms" in has:
            vector(b + "attn_q_norm.weight", dim, 1.3, 0.3)
            vector(b + "attn_k_norm.weight", dim, 1.3, 0.3)
        if "post norms" in has:
            vector(b + "post_attention_norm.weight", D, 1, 0.3)
            vector(b + "post_ffw_norm.weight", D, 1, 0.3)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def compare(model, ids):
    command = ["cargo", "run", "--release", "--quiet", "-p", "talkoo-engine", "--example", "logits", "--"]
    sides = []
    for program in (command, [LLAMA, "logits"]):
        out = os.path.join(FOLDER, "logits.f32le")
        subprocess.run([*program, model, ids, out], check=True, stdout=subprocess.DEVNULL)
        sides.append(np.fromfile(out, "<f4").reshape(-1, TOKENS).astype(np.float64))
    ours, theirs = (side - side.mean(axis=1, keepdims=True) for side in sides)
    cosine = (ours * theirs).sum(axis=1) / np.sqrt((ours**2).sum(axis=1) * (theirs**2).sum(axis=1))
    return cosine, (ours.argmax(axis=1) == theirs.argmax(axis=1)).mean()


def main():
    os.makedirs(FOLDER, exist_ok=True)
    random = np.random.default_rng(1)
    ids = os.path.join(FOLDER, "ids.i32le")
    random.integers(0, 256, 192).astype("<i4").tofile(ids)
    failed = []
    for family, settings in FAMILIES.items():
        model = os.path.join(FOLDER, family + ".gguf")
        write(model, *settings, random)
        cosine, same = compare(model, ids)
        print(f"{family:14} cosine {cosine.mean():.6f}, least {cosine.min():.6f}, same argmax {same:.3f}")
        if cosine.mean() < 0.998 or cosine.min() < 0.99 or same < 0.9:
            failed.append(family)
    sys.exit(f"not alike: {failed}" if failed else 0)


main()
