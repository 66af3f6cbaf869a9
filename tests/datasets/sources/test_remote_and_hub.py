"""fsspec URLs through its in-memory file system, hub datasets through a local repository folder: no network."""

import json
import subprocess
import sys

import fsspec
import pytest

from luthier.errors import DataError

ROWS = [{"instruction": f"q{i}", "output": f"a{i}"} for i in range(5)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS).encode()


@pytest.fixture
def memory():
    fs = fsspec.filesystem("memory")
    fs.pipe({"/bucket/a.jsonl": LINES, "/bucket/b.jsonl": LINES, "/bucket/readme.pdf": b"x"})
    yield fs
    fs.rm("/bucket", recursive=True)


@pytest.mark.parametrize(
    ("url", "count"), [("memory://bucket/a.jsonl", 5), ("memory://bucket/", 10), ("memory://bucket/*.jsonl", 10)]
)
@pytest.mark.parametrize("key", ["cloud_file_name", "file_name"])
def test_urls(read, memory, url, count, key):
    assert len(list(read({"set": {key: url}}))) == count


def test_fingerprint_of_a_url_follows_its_content(read, memory):
    samples = read({"set": {"cloud_file_name": "memory://bucket/a.jsonl"}})
    before = samples.fingerprint()
    assert before == samples.fingerprint()
    memory.pipe("/bucket/a.jsonl", LINES.replace(b"q0", b"Q0"))
    assert before != samples.fingerprint()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("memory://bucket/no.jsonl", "does not exist"),
        ("memory://bucket/*.csv", "holds no data file"),
        ("nosuch://x/a.jsonl", "cannot be read"),
    ],
)
def test_bad_urls(read, memory, url, message):
    with pytest.raises(DataError, match=message):
        list(read({"set": {"cloud_file_name": url}}))


def test_hub_repository_with_splits(tmp_path, write, read):
    for split, count in (("train", 5), ("test", 3)):
        write(f"repo/{split}.jsonl", ROWS[:count])
    info = {name: {"hf_hub_url": str(tmp_path / "repo"), "split": name} for name in ("train", "test", "dev")}
    for streaming in (False, True):
        keys = {"streaming": streaming, "cache_dir": str(tmp_path / "cache")}
        assert [len(list(read(info, [name], **keys))) for name in ("train", "test")] == [5, 3]
        with pytest.raises(DataError, match=r'has no split "dev" \(splits: train, test\)'):
            list(read(info, ["dev"], **keys))
    assert read(info, ["train"], **keys).fingerprint() != read(info, ["test"], **keys).fingerprint()


def test_offline_names_what_is_missing():
    """HF_HUB_OFFLINE is read when the client is imported, so this needs a process of its own."""
    code = (
        "from luthier.config import Config; from luthier.datasets import read_samples; from luthier.types import Conversation\n"
        "try: list(read_samples(Config(dataset=['nobody/nothing'], dataset_dir='ONLINE'), wants=Conversation))\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env={"HF_HUB_OFFLINE": "1"}
    )
    assert "DataError" in result.stdout, result.stderr
    assert 'the dataset "nobody/nothing" is not in the cache' in result.stdout
    assert "hf download nobody/nothing --repo-type dataset" in result.stdout


def test_modelscope_without_its_client(read, monkeypatch):
    monkeypatch.setitem(sys.modules, "modelscope_hub", None)
    with pytest.raises(DataError, match="pip install modelscope-hub"):
        list(read({"set": {"ms_hub_url": "someone/some"}}))


def test_modelscope_is_chosen_by_its_variable(read, monkeypatch):
    info = {"set": {"hf_hub_url": "a/b", "ms_hub_url": "c/d"}}
    assert read(info).sets[0].entry.location == "a/b"
    monkeypatch.setenv("USE_MODELSCOPE_HUB", "1")
    assert read(info).sets[0].entry.location == "c/d"
