"""huggingface_hub against a node's /hf: create, upload (small and large), download, resume, list, delete.

Usage: hub.py API_URL TOKEN FOLDER
"""
import hashlib
import os
import subprocess
import sys
import tempfile

url, token, folder = sys.argv[1:4]
os.environ["HF_ENDPOINT"] = f"{url}/hf"
os.environ["HF_HOME"] = tempfile.mkdtemp(dir=folder)
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
# Files above 16 MiB go by git-lfs: this hub has no Xet.
os.environ["HF_HUB_DISABLE_XET"] = "1"

from huggingface_hub import CommitOperationDelete, HfApi, hf_hub_download, snapshot_download  # noqa: E402
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError  # noqa: E402

checks = 0


def check(name, ok):
    global checks
    checks += 1
    assert ok, name


def fails(kind, call):
    global checks
    checks += 1
    try:
        call()
    except kind:
        return
    raise AssertionError(f"{kind.__name__} was expected")


def sha(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


api = HfApi(token=token)
check("whoami", api.whoami()["name"] == "me")
api.create_repo("me/private-one")
made = api.create_repo("me/judge", private=False)
check("create", str(made).endswith("/hf/me/judge"))
api.create_repo("me/judge", private=False, exist_ok=True)
fails(HfHubHTTPError, lambda: api.create_repo("me/judge"))

source = tempfile.mkdtemp(dir=folder)
os.makedirs(f"{source}/sub")
with open(f"{source}/README.md", "w") as file:
    file.write("---\nlicense: apache-2.0\n---\n# A judge\n")
with open(f"{source}/config.json", "w") as file:
    file.write('{"model_type": "llama"}')
with open(f"{source}/sub/model.safetensors", "wb") as file:
    file.write(os.urandom(40_000_000))
first = api.upload_folder(repo_id="me/judge", folder_path=source, commit_message="all of it")
check("commit", len(first.oid) == 40)
info = api.model_info("me/judge", files_metadata=True)
sizes = {s.rfilename: s.size for s in info.siblings}
check("info", sizes == {"README.md": 38, "config.json": 23, "sub/model.safetensors": 40_000_000} and info.sha == first.oid)
large = next(s for s in info.siblings if s.rfilename.endswith("safetensors"))
check("lfs", large.lfs.sha256 == sha(f"{source}/sub/model.safetensors"))

# Anybody may read what is public; names are content, so a snapshot is exactly what was put in.
got = snapshot_download("me/judge", token=False)
for name in ("README.md", "config.json", "sub/model.safetensors"):
    check(name, sha(f"{got}/{name}") == sha(f"{source}/{name}"))

# A download that was cut goes on where it was.
blob = large.lfs.sha256
again = tempfile.mkdtemp(dir=folder)
partial = f"{again}/.cache/huggingface/download/sub"
os.makedirs(partial)
with open(f"{source}/sub/model.safetensors", "rb") as whole, open(f"{again}/head", "wb") as head:
    head.write(whole.read(25_000_000))
cache = tempfile.mkdtemp(dir=folder)
blobs = f"{cache}/models--me--judge/blobs"
os.makedirs(blobs)
os.rename(f"{again}/head", f"{blobs}/{blob}.incomplete")
resumed = hf_hub_download("me/judge", "sub/model.safetensors", cache_dir=cache, token=False)
check("resume", sha(resumed) == blob)

# Later states, earlier states.
second = api.upload_file(repo_id="me/judge", path_or_fileobj=b"new", path_in_repo="new.txt", commit_message="more")
third = api.create_commit("me/judge", [CommitOperationDelete("config.json")], commit_message="less")
check("list", sorted(api.list_repo_files("me/judge")) == ["README.md", "new.txt", "sub/model.safetensors"])
check("old", "config.json" in api.list_repo_files("me/judge", revision=first.oid))
commits = [c.commit_id for c in api.list_repo_commits("me/judge")]
check("commits", commits == [third.oid, second.oid, first.oid])
api.create_tag("me/judge", tag="v1", revision=first.oid)
check("tag", any(t.name == "v1" for t in api.list_repo_refs("me/judge").tags))
check("tag read", open(hf_hub_download("me/judge", "config.json", revision="v1", token=False)).read() == '{"model_type": "llama"}')
tree = list(api.list_repo_tree("me/judge", recursive=True))
check("tree", {t.path for t in tree} == {"README.md", "new.txt", "sub", "sub/model.safetensors"})
paths = api.get_paths_info("me/judge", ["new.txt", "nowhere"])
check("paths", [p.path for p in paths] == ["new.txt"])
check("exists", api.file_exists("me/judge", "new.txt") and not api.file_exists("me/judge", "old.txt"))
check("search", [m.id for m in api.list_models(search="judge")] == ["me/judge"])

# A folder of the network is a repository without being written down.
cid = api.list_repo_commits("me/judge")[0]
root = os.popen(f"curl -s {url}/hf/api/models/me/judge").read().split('"cid":"')[1].split('"')[0]
check("by cid", open(hf_hub_download(f"ipfs/{root}", "new.txt", token=False)).read() == "new")

# With Xet at hand, as it is by default, folders of files up to 16 MiB go up too.
api.create_repo("me/small", private=False)
small = tempfile.mkdtemp(dir=folder)
with open(f"{small}/weights.bin", "wb") as file:
    file.write(os.urandom(10_000_000))
code = f"from huggingface_hub import HfApi; HfApi(token={token!r}).upload_folder(repo_id='me/small', folder_path={small!r})"
environ = {**os.environ, "HF_HUB_DISABLE_XET": "0"}
subprocess.run([sys.executable, "-c", code], env=environ, check=True, timeout=60, capture_output=True)
check("with xet", sha(hf_hub_download("me/small", "weights.bin", token=False)) == sha(f"{small}/weights.bin"))

# Data sets, with the library that people use.
api.create_repo("me/rows", repo_type="dataset", private=False)
api.upload_file(repo_id="me/rows", repo_type="dataset", path_or_fileobj=b'{"text":"one"}\n{"text":"two"}\n', path_in_repo="rows.jsonl")
try:
    from datasets import load_dataset

    rows = load_dataset("me/rows", split="train")
    check("datasets", rows["text"] == ["one", "two"])
except ImportError:
    print("datasets: not installed, left out")

try:
    from transformers import AutoConfig

    api.upload_file(repo_id="me/small", path_or_fileobj=b'{"model_type": "llama", "hidden_size": 64}', path_in_repo="config.json")
    check("transformers", AutoConfig.from_pretrained("me/small").hidden_size == 64)
except ImportError:
    print("transformers: not installed, left out")

# No.
fails(RepositoryNotFoundError, lambda: HfApi(token=False).model_info("me/private-one"))
fails(RepositoryNotFoundError, lambda: api.model_info("me/nothing"))
fails(EntryNotFoundError, lambda: hf_hub_download("me/judge", "nothing.txt", token=False))
fails(RevisionNotFoundError, lambda: api.model_info("me/judge", revision="v9"))
fails(HfHubHTTPError, lambda: HfApi(token=False).upload_file(repo_id="me/judge", path_or_fileobj=b"x", path_in_repo="x"))
fails(HfHubHTTPError, lambda: HfApi(token="hf_wrong").delete_repo("me/judge"))
api.update_repo_settings("me/judge", private=True)
fails(RepositoryNotFoundError, lambda: HfApi(token=False).model_info("me/judge"))
api.delete_repo("me/judge")
fails(RepositoryNotFoundError, lambda: api.model_info("me/judge"))
print(f"huggingface_hub: {checks} checks")
