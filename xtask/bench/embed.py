"""The peer of `cargo xtask bench embed`: the same model in single precision on onnxruntime, which fuses it
for the CPU, in batches sorted by length as sentence-transformers makes them. Prints the median of `seconds`.
usage: embed.py PACKAGES FOLDER LINES THREADS OUT.f32le"""
import json, struct, sys, time

PACKAGES, FOLDER, LINES, THREADS, OUT = sys.argv[1:]
sys.path.insert(0, PACKAGES)
import numpy as np  # noqa: E402
import onnx  # noqa: E402
import onnxruntime as ort  # noqa: E402
from onnx import TensorProto as T, helper as h, numpy_helper  # noqa: E402
from tokenizers import Tokenizer  # noqa: E402

REPEATS, BATCH, MAX = 3, 32, 256


def read(path):
    with open(path, "rb") as file:
        return file.read()


config = json.loads(read(f"{FOLDER}/config.json"))
data = read(f"{FOLDER}/model.safetensors")
length = struct.unpack("<Q", data[:8])[0]
table = json.loads(data[8 : 8 + length])


def tensor(name):
    from_, to = table[name]["data_offsets"]
    return np.frombuffer(data[8 + length + from_ : 8 + length + to], dtype="<f4").reshape(table[name]["shape"])


nodes, weights, count = [], [], 0


def constant(array, name=None):
    global count
    count += 1
    name = name or f"c{count}"
    weights.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
    return name


def node(op, *inputs, domain="", **attributes):
    global count
    count += 1
    nodes.append(h.make_node(op, list(inputs), [f"v{count}"], domain=domain, **attributes))
    return f"v{count}"


EPSILON, HEADS, MS = config["layer_norm_eps"], config["num_attention_heads"], "com.microsoft"
vector = lambda name: constant(tensor(name))
matrix = lambda name: constant(tensor(name).T)
norm = lambda name: (vector(f"{name}.weight"), vector(f"{name}.bias"))
words = node("Gather", vector("embeddings.word_embeddings.weight"), "ids")
places = node("Gather", vector("embeddings.position_embeddings.weight"), "places")
x = node("Add", node("Add", words, places), constant(tensor("embeddings.token_type_embeddings.weight")[0]))
x = node("LayerNormalization", x, *norm("embeddings.LayerNorm"), epsilon=EPSILON)
for l in range(config["num_hidden_layers"]):
    p = f"encoder.layer.{l}"
    parts = [f"{p}.attention.self.{part}" for part in ("query", "key", "value")]
    w = constant(np.concatenate([tensor(f"{part}.weight").T for part in parts], axis=1))
    b = constant(np.concatenate([tensor(f"{part}.bias") for part in parts]))
    a = node("Attention", x, w, b, "lengths", domain=MS, num_heads=HEADS)
    o = f"{p}.attention.output"
    a = node("MatMul", a, matrix(f"{o}.dense.weight"))
    x = node("SkipLayerNormalization", a, x, *norm(f"{o}.LayerNorm"), vector(f"{o}.dense.bias"), domain=MS, epsilon=EPSILON)
    g = node("MatMul", x, matrix(f"{p}.intermediate.dense.weight"))
    g = node("BiasGelu", g, vector(f"{p}.intermediate.dense.bias"), domain=MS)
    o = f"{p}.output"
    g = node("MatMul", g, matrix(f"{o}.dense.weight"))
    x = node("SkipLayerNormalization", g, x, *norm(f"{o}.LayerNorm"), vector(f"{o}.dense.bias"), domain=MS, epsilon=EPSILON)
info = h.make_tensor_value_info
graph = h.make_graph(
    nodes, "bert",
    [info("ids", T.INT64, ["b", "n"]), info("places", T.INT64, ["n"]), info("lengths", T.INT32, ["b"])],
    [info(x, T.FLOAT, ["b", "n", config["hidden_size"]])], weights,
)
model = h.make_model(graph, opset_imports=[h.make_opsetid("", 17), h.make_opsetid(MS, 1)], ir_version=8)
options = ort.SessionOptions()
options.intra_op_num_threads = int(THREADS)
options.inter_op_num_threads = 1
session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])

tokenizer = Tokenizer.from_file(f"{FOLDER}/tokenizer.json")
tokenizer.no_padding()
tokenizer.enable_truncation(MAX)
lines = read(LINES).decode().split("\n")


def embed():
    encoded = [e.ids for e in tokenizer.encode_batch(lines)]
    order = sorted(range(len(lines)), key=lambda i: -len(encoded[i]))
    out = np.zeros((len(lines), config["hidden_size"]), dtype=np.float32)
    for at in range(0, len(order), BATCH):
        batch = order[at : at + BATCH]
        lengths = np.array([len(encoded[i]) for i in batch], dtype=np.int32)
        most = int(lengths.max())
        ids = np.zeros((len(batch), most), dtype=np.int64)
        for row, i in enumerate(batch):
            ids[row, : lengths[row]] = encoded[i]
        state = session.run(None, {"ids": ids, "places": np.arange(most), "lengths": lengths})[0]
        mask = (np.arange(most)[None, :] < lengths[:, None]).astype(np.float32)
        mean = (state * mask[:, :, None]).sum(1) / lengths[:, None]
        out[batch] = mean / np.linalg.norm(mean, axis=1, keepdims=True)
    return out


print("version", ort.__version__)
times = []
for _ in range(REPEATS + 1):
    start = time.perf_counter()
    result = embed()
    times.append(time.perf_counter() - start)
print(f"seconds {sorted(times[1:])[REPEATS // 2]:.4f}")
result.astype("<f4").tofile(OUT)
