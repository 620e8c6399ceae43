"""lm-eval asks a node over /v1, and the same prompts are run on the engine by itself: texts and scores have to be equal.

Usage: evals.py BASE KEY TALKOO PACKAGES
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

base, key, talkoo, packages = sys.argv[1:5]
MODEL = "smollm2-135m-instruct"
TOKENS = 24
# Questions with one word as an answer; a model of this size knows about half.
QUESTIONS = [
    ("What is the capital of Finland?", "Helsinki"), ("What is the capital of France?", "Paris"), ("What is the capital of Japan?", "Tokyo"),
    ("What is the capital of Italy?", "Rome"), ("What is the capital of Egypt?", "Cairo"), ("What is the capital of Australia?", "Canberra"),
    ("What colour is the sky on a clear day?", "blue"), ("Which planet is the largest?", "Jupiter"), ("How many days has a week?", "seven"),
    ("What gas do plants take in?", "carbon dioxide"), ("Who wrote Hamlet?", "Shakespeare"), ("What is the opposite of hot?", "cold"),
]
folder = pathlib.Path(tempfile.mkdtemp(prefix="talkoo-evals-"))
(folder / "data.jsonl").write_text("".join(json.dumps({"question": q, "answer": a}) + "\n" for q, a in QUESTIONS))
# The data files are named whole, for lm-eval reads them from wherever it stands.
(folder / "small.yaml").write_text(f"""task: small
dataset_path: json
dataset_kwargs: {{data_files: {{test: {folder}/data.jsonl}}}}
test_split: test
output_type: generate_until
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{answer}}}}"
process_results: !function contains.contains
generation_kwargs: {{until: [], max_gen_toks: {TOKENS}, temperature: 0, do_sample: false}}
metric_list: [{{metric: acc, aggregation: mean, higher_is_better: true}}]
""")
(folder / "contains.py").write_text("def contains(doc, results):\n    return {'acc': float(doc['answer'].lower() in results[0].lower())}\n")

arguments = f"model={MODEL},base_url={base}/v1/chat/completions,num_concurrent=4,max_retries=1,tokenized_requests=False"
command = [f"{packages}/evals/bin/lm_eval", "run", "--model", "local-chat-completions", "--model_args", arguments, "--tasks", "small", "--include_path", str(folder),
           "--apply_chat_template", "--output_path", str(folder / "out"), "--log_samples"]
environment = {**os.environ, "OPENAI_API_KEY": key, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(folder / "hf")}
done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=600)
if done.returncode:
    raise SystemExit(f"lm_eval: {done.stderr[-3000:]}")
samples = [json.loads(line) for path in (folder / "out").rglob("samples_*.jsonl") for line in path.read_text().splitlines()]
results = [json.loads(path.read_text()) for path in (folder / "out").rglob("results_*.json")]
score = results[0]["results"]["small"]["acc,none"]
if len(samples) != len(QUESTIONS):
    raise SystemExit(f"{len(samples)} samples, not {len(QUESTIONS)}")
theirs = {sample["doc"]["question"]: sample["resps"][0][0] for sample in samples}

right = 0
for question, answer in QUESTIONS:
    direct = subprocess.run([talkoo, "-o", "json", "run", MODEL, question, "--max-tokens", str(TOKENS)], capture_output=True, text=True, check=True, timeout=120)
    text = json.loads(direct.stdout)["text"]
    right += answer.lower() in text.lower()
    if theirs[question].strip() != text.strip():
        raise SystemExit(f"{question}: over HTTP {theirs[question]!r}, by itself {text!r}")
if abs(score - right / len(QUESTIONS)) > 1e-9 or not 0 < right:
    raise SystemExit(f"lm-eval's score is {score}, that of the engine {right / len(QUESTIONS)}")
print(f"lm-eval: {len(QUESTIONS)} answers are those of the engine, letter for letter; accuracy {score:.3f} by both")
