"""A second implementation of docs/EXACT.md, in Python's integers, rule by rule, against docs/vectors.jsonl.

The layouts of GGUF's blocks are ggml's (ggml-common.h, ggml-quants.c). Prints one line; exits with 1 at the first vector
that differs.
"""

import hashlib
import json
import math
import struct
import sys

LOG2_E = 1549082005


def bl(v):
    return v.bit_length()


def rsh(v, s):
    if s > 0:
        return (v + (1 << (s - 1))) >> s
    return v << -s


def rne(numerator, denominator):
    """Nearest integer of a fraction, ties to even."""
    quotient, rest = divmod(numerator, denominator)
    return quotient + (2 * rest > denominator or 2 * rest == denominator and quotient & 1)


def ceil_div(a, b):
    return -(-a // b)


def sha(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def u32(n):
    return struct.pack(">I", n)


def u64(n):
    return struct.pack(">Q", n)


def merkle(tag, leaves):
    """A node without a neighbour goes up as it is."""
    level = leaves
    while len(level) > 1:
        pairs = [level[i:i + 2] for i in range(0, len(level), 2)]
        level = [sha(b"\1", *pair) if len(pair) == 2 else pair[0] for pair in pairs]
    top = level[0] if level else bytes(32)
    return sha(b"\2", tag, u64(len(leaves)), top)


def leaf(tag, data):
    return sha(b"\0", tag, data)


# Rule 1. A real number is (integer, exponent of two).

def real(bits, exponent_bits, fraction_bits):
    bias = (1 << (exponent_bits - 1)) - 1
    sign = -1 if bits >> (exponent_bits + fraction_bits) else 1
    exponent = bits >> fraction_bits & ((1 << exponent_bits) - 1)
    fraction = bits & ((1 << fraction_bits) - 1)
    if exponent == 0:
        return sign * fraction, 1 - bias - fraction_bits
    return sign * (fraction | 1 << fraction_bits), exponent - bias - fraction_bits


def half(b):
    """In units of 2^-24."""
    m, e = real(int.from_bytes(b, "little"), 5, 10)
    return m << (e + 24)


def k_scales(s):
    """The eight 6-bit scales and minimums of Q4_K and Q5_K."""
    scales, minimums = [], []
    for j in range(8):
        if j < 4:
            scales.append(s[j] & 63)
            minimums.append(s[j + 4] & 63)
        else:
            scales.append(s[j + 4] & 15 | (s[j - 4] >> 6) << 4)
            minimums.append(s[j + 4] >> 4 | (s[j] >> 6) << 4)
    return scales, minimums


def group(name, b):
    """Codes, scales and minimums (units of 2^-24) of one group."""
    if name in ("Q4_0", "Q4_1", "Q5_0", "Q5_1"):
        has_min = name.endswith("1")
        d, m = half(b[:2]), half(b[2:4]) if has_min else None
        b = b[4:] if has_min else b[2:]
        high = 0
        if name[1] == "5":
            high, b = int.from_bytes(b[:4], "little"), b[4:]
        codes = [q & 15 for q in b] + [q >> 4 for q in b]
        codes = [c | (high >> i & 1) << 4 for i, c in enumerate(codes)]
        return codes, [d], [m] if has_min else []
    if name == "Q8_0":
        return [q ^ 0x80 for q in b[2:]], [half(b[:2])], []
    if name in ("Q4K", "Q5K"):
        d, m, (scales, minimums) = half(b[:2]), half(b[2:4]), k_scales(b[4:16])
        high, quants = (b[16:48], b[48:]) if name == "Q5K" else (bytes(32), b[16:])
        codes = []
        for pair in range(4):
            part = quants[pair * 32:pair * 32 + 32]
            codes += [q & 15 | (high[i] >> (2 * pair) & 1) << 4 for i, q in enumerate(part)]
            codes += [q >> 4 | (high[i] >> (2 * pair + 1) & 1) << 4 for i, q in enumerate(part)]
        return codes, [d * s for s in scales], [-m * s for s in minimums]
    # Q6_K
    low, high, scales, d = b[:128], b[128:192], struct.unpack("16b", b[192:208]), half(b[208:210])
    codes = [0] * 256
    for n in range(2):
        for i in range(32):
            l0, l1, h = low[n * 64 + i], low[n * 64 + 32 + i], high[n * 32 + i]
            for part, nibble in enumerate([l0 & 15, l1 & 15, l0 >> 4, l1 >> 4]):
                codes[n * 128 + part * 32 + i] = nibble | (h >> (2 * part) & 3) << 4
    return codes, [d * s for s in scales], []


# Bytes and weights of a group, weights of a block, zero point.
FORMATS = {
    "Q4_0": (18, 32, 32, 8), "Q4_1": (20, 32, 32, 0), "Q5_0": (22, 32, 32, 16), "Q5_1": (24, 32, 32, 0),
    "Q8_0": (34, 32, 32, 128), "Q4K": (144, 256, 32, 0), "Q5K": (176, 256, 32, 0), "Q6K": (210, 256, 16, 32),
    "F32": (4, 1, 32, 128), "F16": (2, 1, 32, 128), "BF16": (2, 1, 32, 128),
}


def plain_row(name, b):
    size = FORMATS[name][0]
    shape = {"F32": (8, 23), "F16": (5, 10), "BF16": (8, 7)}[name]
    numbers = [real(int.from_bytes(b[i:i + size], "little"), *shape) for i in range(0, len(b), size)]
    least = min(e for _, e in numbers)
    v = [m << (e - least) for m, e in numbers]
    largest = max(abs(x) for x in v)
    # |v| * 2^least < 2^(unit + 40)
    unit = least + bl(largest) - 40 if largest else 0
    whole = [x << (least - unit) if least >= unit else rne(x, 1 << (unit - least)) for x in v]
    tops = [max(abs(x) for x in whole[i:i + 32]) for i in range(0, len(whole), 32)]
    k = 0
    while any(ceil_div(t, 127 << k) > 32767 for t in tops) or k + unit < -60:
        k += 1
    if k > 40:
        return {"codes": [128] * len(v), "sw": [0] * len(tops), "mn": [], "ew": -60}
    sw = [ceil_div(t, 127 << k) for t in tops]
    codes = []
    for i, x in enumerate(whole):
        step = sw[i // 32] << k
        codes.append(128 + (2 * x + step) // (2 * step) if step else 128)
    return {"codes": codes, "sw": sw, "mn": [], "ew": k + unit}


def row(name, b):
    size, _, _, _ = FORMATS[name]
    if name in ("F32", "F16", "BF16"):
        return plain_row(name, b)
    codes, scales, minimums = [], [], []
    for i in range(0, len(b), size):
        c, s, m = group(name, b[i:i + size])
        codes, scales, minimums = codes + c, scales + s, minimums + m

    def whole(x, ew):
        shift = ew + 24
        return rne(x, 1 << shift) if shift > 0 else x << -shift

    if not any(scales) and not any(minimums):
        return {"codes": codes, "sw": scales, "mn": minimums, "ew": 0}
    ew = -60
    while any(abs(whole(s, ew)) > 32767 for s in scales) or any(abs(whole(m, ew)) > 1 << 20 for m in minimums):
        ew += 1
    return {"codes": codes, "sw": [whole(s, ew) for s in scales], "mn": [whole(m, ew) for m in minimums], "ew": ew}


def matrix(v):
    b, size = bytes.fromhex(v["bytes"]), FORMATS[v["format"]]
    row_bytes = 256 // size[1] * size[0]
    return [row(v["format"], b[i:i + row_bytes]) for i in range(0, len(b), row_bytes)]


def import_(v):
    rows, (_, _, block, zero) = matrix(v), FORMATS[v["format"]]
    leaves = []
    for r in rows:
        parts = [bytes(r["codes"]), struct.pack(f"<{len(r['sw'])}h", *r["sw"]), struct.pack(f"<{len(r['mn'])}i", *r["mn"])]
        leaves.append(leaf(b"talkoo/tile/1", b"".join(parts) + struct.pack("<i", r["ew"])))
    shape = [v["rows"], v["columns"], block, zero, int(bool(rows[0]["mn"]))]
    digest = sha(b"talkoo/matrix/1", *map(u32, shape), merkle(b"talkoo/tile/1", leaves))

    def all_(key):
        return [x for r in rows for x in r[key]]

    return {
        "block": block, "zero_point": zero, "codes": bytes(all_("codes")).hex(), "sw": all_("sw"), "mn": all_("mn"),
        "ew": [r["ew"] for r in rows], "digest": digest.hex(),
    }


def linear(v):
    out, (_, _, block, zero) = [], FORMATS[v["format"]]
    for r in matrix(v):
        acc = 0
        for b in range(256 // block):
            xs = v["codes"][b * block:(b + 1) * block]
            dot = sum((w - zero) * x for w, x in zip(r["codes"][b * block:], xs))
            minimum = r["mn"][b] * sum(xs) if r["mn"] else 0
            acc += v["mantissas"][b * block // 32] * (r["sw"][b] * dot + minimum)
        out.append(rsh(acc, -(r["ew"] + v["exponent"] + 16)))
    return {"y": out if all(abs(y) < 1 << 40 for y in out) else None}


def embedding(v):
    r, (_, _, block, zero) = matrix(v)[v["row"]], FORMATS[v["format"]]
    x = [
        rsh((r["sw"][i // block] * (c - zero) + (r["mn"][i // block] if r["mn"] else 0)) * v["s"], -r["ew"])
        for i, c in enumerate(r["codes"])
    ]
    return {"x": x if all(abs(y) < 1 << 40 for y in x) else None}


def quantise(v):
    x, fb = v["x"], v["fraction_bits"]
    n = bl(max(map(abs, x)))
    codes, mantissas = [], []
    for i in range(0, len(x), 32):
        block = [rsh(y, n - 30) for y in x[i:i + 32]] if n else [0] * 32
        m = ceil_div(max(map(abs, block)), 32512)
        mantissas.append(m)
        codes += [(y * ((1 << 32) // m) + (1 << 39)) >> 40 if m else 0 for y in block]
    return {"codes": codes, "mantissas": mantissas, "exponent": n - 22 - fb}


def norm(x, gains, epsilon):
    d = len(x)
    t = bl(max(map(abs, x))) - 24
    small = [rsh(y, t) for y in x]
    eps = epsilon >> 2 * t if t >= 0 else epsilon << -2 * t
    ms = (sum(y * y for y in small) << 16) // d + eps
    inv = (1 << 52) // max(1, math.isqrt(ms))
    return [rsh(rsh(y * inv, 24) * g, 16) for y, g in zip(small, gains)]


def layer_norm(v):
    x, d = v["x"], len(v["x"])
    centred = [d * y - sum(x) for y in x]
    y = [rsh(n, 4) + b for n, b in zip(norm(centred, v["gains"], v["epsilon"] * d * d), v["biases"])]
    return {"y": y if all(abs(n) < 1 << 31 for n in y) else None}


def unit(v):
    t = bl(max(map(abs, v["v"]))) - 31
    x = [rsh(y, t) for y in v["v"]]
    length = max(1, math.isqrt(sum(y * y for y in x) << 32))
    return {"vector": [((y << 47) + length) // (2 * length) for y in x]}


def sine_cosine(phase):
    k = (phase + (1 << 61)) >> 62
    r = (phase - (k << 62)) % (1 << 64)
    r -= (r >> 63) << 64
    x = r * 7244019458077122842 >> 62
    x2 = x * x >> 62

    def towards_zero(a, b):
        return -(-a // b) if a < 0 else a // b

    s = c = 1 << 62
    for n in range(8, 0, -1):
        s = (1 << 62) - towards_zero(x2 * s >> 62, 2 * n * (2 * n + 1))
        c = (1 << 62) - towards_zero(x2 * c >> 62, (2 * n - 1) * 2 * n)
    s, c = rsh(x * s >> 62, 32), rsh(c, 32)
    return [(s, c), (c, -s), (-s, -c), (-c, s)][k % 4]


def rotate(v):
    head, pairs = list(v["head"]), len(v["frequencies"])
    for j, frequency in enumerate(v["frequencies"]):
        s, c = sine_cosine(frequency * v["position"] % (1 << 64))
        a, b = (2 * j, 2 * j + 1) if v["pairs"] == "interleaved" else (j, j + pairs)
        u, w = head[a], head[b]
        head[a], head[b] = rsh(u * c - w * s, 30), rsh(u * s + w * c, 30)
    return {"head": head}


def horner(coefficients, x, bits):
    y = coefficients[-1]
    for c in reversed(coefficients[:-1]):
        y = ((y * x + (1 << (bits - 1))) >> bits) + c
    return y


def exp2neg(u):
    c = [1073741823, -744260973, 257938912, -59582935, 10286296, -1369601, 117391]
    return horner(c, u & ((1 << 20) - 1), 20) >> (u >> 20) if u >> 20 < 32 else 0


def sigmoid(g):
    e = exp2neg(min(abs(g), 1 << 22) * LOG2_E >> 26)
    return (1 << 60) // ((1 << 30) + e) if g >= 0 else (e << 30) // ((1 << 30) + e)


def gate_times(v):
    g, z = v["g"], v["g"]
    if v["activation"] == "gelu_tanh":
        c = max(-(1 << 20), min(1 << 20, g))
        z = rsh(c * (1713444047 + rsh(76616651 * rsh(c * c, 16), 16)), 30)
    y = rsh(rsh(g * sigmoid(z), 22) * v["u"], 20)
    return {"y": y if abs(y) < 1 << 60 else None}


def gelu(x):
    c = [16670517, -100960723, 249809450, -275771341, -18491277, 448714739, -527705203, 86982409,
         372076877, -276652725, -100515656, 146659672, 8155252, -28972066]
    a = abs(x)
    h = 0 if a >= 5 << 16 else rsh(horner(c, rsh(a * 107374182, 20) - (1 << 24), 24), 10)
    return max(x, 0) * 16 - h


def cached_head(v):
    x = v["x"]
    n = bl(max(map(abs, x)))
    codes, mantissas = [], []
    for i in range(0, len(x), 32):
        block = [rsh(y, n - 30) for y in x[i:i + 32]]
        m = ceil_div(max(map(abs, block)), 32512)
        mantissas.append(m)
        codes += [(y * ((1 << 47) // m) + (1 << 46)) >> 47 if m else 0 for y in block]
    row = struct.pack(f"<i{len(mantissas)}H{len(codes)}h", n - 46, *mantissas, *codes)
    return {"codes": codes, "mantissas": mantissas, "exponent": n - 46, "row": row.hex()}


def cached(text, is_fine):
    b = bytes.fromhex(text)
    exponent, mantissa = struct.unpack("<iH", b[:6])
    return exponent, mantissa, struct.unpack("<32h" if is_fine else "32b", b[6:])


def attention(v):
    shift = bl(max(map(abs, v["query"]))) - 14
    query = [rsh(q, shift) for q in v["query"]]
    is_fine = v.get("contract") == "IR-1/kv16"
    keys, values = ([cached(row, is_fine) for row in v[part]] for part in ("keys", "values"))
    first = v["first"]
    scores = []
    for e, m, codes in keys[first:]:
        score = rsh(m * sum(q * k for q, k in zip(query, codes)), -(shift - 16 + e + 20))
        score = max(-(1 << 60), min(1 << 60, score))
        scores.append(score * v["c"] >> 30)
    p = [exp2neg(max(scores) - s) for s in scores]
    largest, bits = max(e for e, _, _ in values[first:]), bl(sum(p))
    a = [0] * first + [rsh(p * m, largest - e) for p, (e, m, _) in zip(p, values[first:])]
    grid = max(0, bl(max(a)) - (24 if is_fine else 32))
    sums = [0] * 32
    for start in range(0, len(a), 128):
        part = a[start:start + 128]
        s = max(0, bl(max(part)) - 16)
        weights = [min(65535, rsh(w, s)) for w in part]
        for d in range(32):
            sums[d] += rsh(sum(w * values[start + i][2][d] for i, w in enumerate(weights)), grid - s)
    reciprocal = (1 << (bits + 30)) // sum(p)
    out = [rsh(n * reciprocal, bits + 30 - grid - largest - 20) for n in sums]
    return {"query_codes": query, "query_exponent": shift - 16, "out": out}


def draw(seed, index):
    return int.from_bytes(sha(b"talkoo/draw/1", u64(seed), u32(index))[:8], "big")


def sample(v):
    logits, banned = list(v["logits"]), set()
    for token, bias in v["logit_bias"]:
        if bias == -100 << 16:
            banned.add(token)
        else:
            logits[token] += bias
    f = v["repeat_penalty"]
    for token in set(v["prompt"] + v["output"]):
        if f != 65536:
            logits[token] = (logits[token] << 16) // f if logits[token] > 0 else rsh(logits[token] * f, 16)
    for token in set(v["output"]):
        logits[token] -= v["output"].count(token) * v["frequency_penalty"] + v["presence_penalty"]
    order = sorted((i for i in range(len(logits)) if i not in banned), key=lambda i: (-logits[i], i))
    if v["temperature"] == 0:
        return {"token": order[0]}
    top = logits[order[0]]
    kept = [(i, exp2neg((top - logits[i]) * LOG2_E // (v["temperature"] << 10))) for i in order]
    kept = [(i, w) for i, w in kept if w > 0]
    kept = kept[:v["top_k"] or len(kept)]
    if v["top_p"] < 65536:
        total, mass = sum(w for _, w in kept), 0
        for n, (_, w) in enumerate(kept):
            mass += w
            if mass << 16 >= v["top_p"] * total:
                kept = kept[:n + 1]
                break
    kept = [(i, w) for i, w in kept if w << 16 >= v["min_p"] * kept[0][1]]
    r, mass = draw(v["seed"], len(v["output"])) * sum(w for _, w in kept), 0
    for i, w in kept:
        mass += w
        if mass << 64 > r:
            return {"token": i}


def log2(x):
    n = bl(x) - 1
    y, log = (x << (63 - n)) >> 32, n
    for _ in range(24):
        y = y * y >> 31
        log = 2 * log + (y >> 32)
        y >>= y >> 32
    return log


def logprobs(v):
    logits, largest, total = v["logits"], max(v["logits"]), 0
    for logit in logits:
        u = min(largest - logit, 1 << 22) * LOG2_E >> 26
        total += exp2neg(u & ((1 << 20) - 1)) << 12 >> (u >> 20)
    ln = rsh((log2(total) - (42 << 24)) * 744261118, 38)
    p = [max(-(1 << 31), logit - largest - ln) for logit in logits]
    order = sorted(range(len(logits)), key=lambda i: (-logits[i], i))[:v["top"]]
    told = [p[v["token"]], len(order)] + [n for i in order for n in (i, p[i])]
    inner = bytes.fromhex(v["inner"].removeprefix("0x"))
    digest = sha(b"talkoo/logprobs/1", inner, *(u32(n % (1 << 32)) for n in told))
    return {"chosen": told[0], "top": [[i, p[i]] for i in order], "digest": digest.hex()}


def state(v):
    residual = struct.pack(f"<{len(v['residual'])}q", *v["residual"])
    return {"state": sha(residual, bytes.fromhex(v["key_row"]), bytes.fromhex(v["value_row"])).hex()}


def chunks(v):
    states, layers, prompt, tokens = [bytes.fromhex(s.removeprefix("0x")) for s in v["states"]], v["layers"], v["prompt_tokens"], v["tokens"]
    digests = []
    for j, first in enumerate(range(0, len(tokens), 32)):
        part = tokens[first:first + 32]
        begin = 0 if j == 0 else prompt - 1 + first
        own = states[begin * layers:(prompt - 1 + first + len(part)) * layers]
        root = merkle(b"talkoo/states/1", [leaf(b"talkoo/states/1", s) for s in own])
        numbers = map(u32, [j, len(part), *part])
        digests.append(sha(b"talkoo/chunk/1", bytes.fromhex(v["trace_id"].removeprefix("0x")), *numbers, root))
    root = merkle(b"talkoo/trace/1", [leaf(b"talkoo/trace/1", c) for c in digests])
    return {"chunks": [c.hex() for c in digests], "root": root.hex()}


def sine_cosine_of(v):
    sine, cosine = sine_cosine(v["phase"])
    return {"sine": sine, "cosine": cosine}


OPERATORS = {
    "import": import_, "linear": linear, "embedding": embedding, "quantise": quantise, "layer_norm": layer_norm,
    "rms_norm": lambda v: {"y": norm(v["x"], v["gains"], v["epsilon"])}, "unit": unit, "sine_cosine": sine_cosine_of,
    "rotate": rotate, "exp2neg": lambda v: {"y": exp2neg(v["u"])}, "sigmoid": lambda v: {"y": sigmoid(v["g"])},
    "gate_times": gate_times, "gelu": lambda v: {"y": gelu(v["x"])}, "attention": attention,
    "cached_head": cached_head,
    "draw": lambda v: {"r": draw(v["seed"], v["index"])}, "sample": sample, "state": state, "chunks": chunks,
    "log2": lambda v: {"log2": log2(v["v"])}, "logprobs": logprobs,
}


def plain(value):
    """Digests are compared as hexadecimal digits, however they are written."""
    return json.dumps(value, sort_keys=True).replace("0x", "")


def main():
    count = 0
    for number, line in enumerate(open("docs/vectors.jsonl", encoding="utf-8"), 1):
        vector = json.loads(line)
        found = OPERATORS[vector["operator"]](vector["in"])
        if plain(found) != plain(vector["out"]):
            sys.exit(f"line {number}, rule {vector['rule']}, {vector['operator']}: {found} is not {vector['out']}"[:2000])
        count += 1
    print(f"{count} vectors of docs/vectors.jsonl")


main()
