"""Downloads from a hub that misbehaves in every way it can: a server of our own speaks both protocols (tests/hub_server.py).

The clients read their addresses when they are imported, so every case runs in a process of its own, all cases of a hub in one.
"""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hub_server import HubServer

CASES = """
import json, sys
from luthier.config import Config
from luthier.datasets import read_samples
from luthier.errors import LuthierError
from luthier.hub import resolve_model
from luthier.types import Conversation

def folder(case):
    path = resolve_model(case["name"], Config(**case.get("keys", {})))
    return {str(file.relative_to(path)): file.stat().st_size for file in sorted(path.rglob("*")) if file.is_file()}

def rows(case):
    config = Config(dataset=["set"], dataset_dir={"set": case["entry"]}, **case.get("keys", {}))
    return [sample.messages[0].content for sample in read_samples(config, wants=Conversation)]

for case in json.load(sys.stdin):
    try:
        said = folder(case) if "name" in case else rows(case)
    except LuthierError as error:
        said = f"{type(error).__name__}: {error}"
    print("SAID", json.dumps(said), flush=True)
"""
FEW_RETRIES = {"MODELSCOPE_API_MAX_RETRIES": "1", "MODELSCOPE_DOWNLOAD_MAX_RETRIES": "2"}
BIG = random.Random(0).randbytes(12 << 20)
SMALL = random.Random(1).randbytes(3000)
OTHER = bytes(len(SMALL))
SHARDS = {"model-1-of-2.safetensors": SMALL, "model-2-of-2.safetensors": SMALL[::-1]}
INDEX = json.dumps({"weight_map": {"a": "model-1-of-2.safetensors", "b": "model-2-of-2.safetensors"}}).encode()
SHARDED = {"config.json": b"{}", "model.safetensors.index.json": INDEX, **SHARDS}
ONE = {"config.json": b"{}", "model.safetensors": SMALL}
ROWS = b"".join(json.dumps({"instruction": f"q{i}", "output": f"a{i}"}).encode() + b"\n" for i in range(30))
CARD = b"""---
configs:
- config_name: clean
  data_files:
  - split: train
    path: clean/*.jsonl
- config_name: raw
  data_files: raw/*.jsonl
---
"""
PARTS = {"README.md": CARD, "clean/a.jsonl": ROWS, "clean/b.jsonl": ROWS, "raw/a.jsonl": ROWS.splitlines(keepends=True)[0]}


@pytest.fixture(scope="module")
def hub():
    server = HubServer()
    server.add("models", "me/good", {**SHARDED, "model.py": b"evil", "weights.bin": b"pickle"})
    server.add(
        "models", "me/cut", {"config.json": b"{}", "model.safetensors": BIG}, cut_after={"model.safetensors": [11 << 20] * 2}
    )
    server.add("models", "me/damaged-once", ONE, bodies={"model.safetensors": [OTHER]})
    server.add("models", "me/damaged", ONE, bodies={"model.safetensors": [OTHER] * 50})
    server.add("models", "me/absent-shard", SHARDED, absent={"model-2-of-2.safetensors"})
    server.add("models", "me/unlisted-shard", {k: v for k, v in SHARDED.items() if k != "model-1-of-2.safetensors"})
    server.add("models", "me/private", ONE, token="let-me-in")
    server.add("models", "me/gated", ONE, gated=True)
    server.add(
        "datasets",
        "me/rows",
        {"train.jsonl": ROWS, "test.jsonl": ROWS.splitlines(keepends=True)[0], "huge.bin": b"x", "README.md": b"hi"},
    )
    server.add("datasets", "me/parts", PARTS)
    server.add("datasets", "me/bad", {"train.jsonl": ROWS + b"{\n"})
    server.add("datasets", "me/private", {"train.jsonl": ROWS}, token="let-me-in")
    server.add("datasets", "me/damaged", {"train.jsonl": ROWS * 3}, bodies={"train.jsonl": [bytes(len(ROWS) * 3)] * 50})
    yield server
    server.close()


@pytest.fixture(scope="module")
def ask(hub, tmp_path_factory):
    """ask(cases, **environment) -> what was said to each; the caches of both clients are kept between calls."""
    home = tmp_path_factory.mktemp("home")

    def run(cases, prefix=(), **environment):
        places = {"HF_HOME": home / "hf", "MODELSCOPE_CACHE": home / "ms", "XDG_CACHE_HOME": home / "cache", "HOME": home}
        env = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "MODELSCOPE", "USE_MODELSCOPE"))}
        env |= {"HF_ENDPOINT": hub.url, "MODELSCOPE_ENDPOINT": hub.url} | {k: str(v) for k, v in places.items()} | environment
        done = subprocess.run(
            [*prefix, sys.executable, "-c", CASES],
            input=json.dumps(cases),
            env=env,
            capture_output=True,
            text=True,
            timeout=240,
        )
        said = [json.loads(line[5:]) for line in done.stdout.splitlines() if line.startswith("SAID ")]
        assert len(said) == len(cases), done.stderr[-3000:]
        assert "let-me-in" not in done.stdout + done.stderr
        return said

    run.home = home
    return run


def token(hub_name, value):
    return {"keys": {f"{hub_name}_hub_token": value}}


def cases_of(hub_name):
    url = f"{hub_name}_hub_url"
    return {
        "good": {"name": "me/good"},
        "cut": {"name": "me/cut"},
        "damaged-once": {"name": "me/damaged-once"},
        "damaged": {"name": "me/damaged"},
        "absent-shard": {"name": "me/absent-shard"},
        "unlisted-shard": {"name": "me/unlisted-shard"},
        "no-token": {"name": "me/private"},
        "wrong-token": {"name": "me/private", **token(hub_name, "wrong")},
        "right-token": {"name": "me/private", **token(hub_name, "let-me-in")},
        "gated": {"name": "me/gated"},
        "nowhere": {"name": "me/nowhere"},
        "no-revision": {"name": "me/good", "keys": {"model_revision": "v7"}},
        "rows": {"entry": {url: "me/rows"}},
        "test-rows": {"entry": {url: "me/rows", "split": "test"}},
        "subset": {"entry": {url: "me/parts", "subset": "clean"}},
        "other-subset": {"entry": {url: "me/parts", "subset": "raw"}},
        "no-split": {"entry": {url: "me/rows", "split": "dev"}},
        "bad-row": {"entry": {url: "me/bad"}},
        "rows-no-token": {"entry": {url: "me/private"}},
        "rows-right-token": {"entry": {url: "me/private"}, **token(hub_name, "let-me-in")},
        "rows-damaged": {"entry": {url: "me/damaged"}},
        "rows-nowhere": {"entry": {url: "me/nowhere"}},
    }


@pytest.fixture(scope="module")
def said(hub, ask):
    """What Hugging Face's client led to, by case."""
    cases = cases_of("hf")
    return dict(zip(cases, ask(list(cases.values()))))


@pytest.fixture(scope="module")
def said_ms(hub, ask):
    """What ModelScope's client led to, by case."""
    pytest.importorskip("modelscope_hub")
    cases = cases_of("ms")
    return dict(zip(cases, ask(list(cases.values()), USE_MODELSCOPE_HUB="1", **FEW_RETRIES)))


SIZES = {"config.json": 2, "model.safetensors": len(SMALL)}
COMMON = {
    "good": {"config.json": 2, "model.safetensors.index.json": len(INDEX), **{name: len(SMALL) for name in SHARDS}},
    "cut": {"config.json": 2, "model.safetensors": len(BIG)},
    "damaged-once": SIZES,
    "right-token": SIZES,
    "rows": [f"q{i}" for i in range(30)],
    "test-rows": ["q0"],
    "rows-right-token": [f"q{i}" for i in range(30)],
    "subset": [f"q{i}" for i in range(30)] * 2,
    "other-subset": ["q0"],
    "damaged": 'ModelError: the model "me/damaged": model.safetensors came with other bytes than its hash',
    "absent-shard": 'ModelError: the model "me/absent-shard" names the file model-2-of-2.safetensors, but',
    "unlisted-shard": 'ModelError: the model "me/unlisted-shard" lacks files that it needs: model-1-of-2.safetensors missing',
    "no-split": 'DataError: dataset "set": me/rows has no split "dev"',
    "rows-damaged": 'DataError: the dataset "me/damaged": train.jsonl came with other bytes than its hash',
}
HUGGINGFACE = COMMON | {
    "no-token": 'ModelError: "me/private" is neither a folder here nor a model on Hugging Face (or it is private)',
    "wrong-token": 'ModelError: Hugging Face refuses to give the model "me/private" (401)',
    "gated": 'ModelError: the model "me/gated" on Hugging Face is gated.',
    "nowhere": 'ModelError: "me/nowhere" is neither a folder here nor a model on Hugging Face',
    "no-revision": 'ModelError: the model "me/good" has no revision "v7"',
}
MODELSCOPE = COMMON | {
    "no-token": 'ModelError: ModelScope refuses to give the model "me/private" (401)',
    "wrong-token": 'ModelError: ModelScope refuses to give the model "me/private" (401)',
    "gated": 'ModelError: ModelScope refuses to give the model "me/gated" (403)',
    "nowhere": 'ModelError: "me/nowhere" is neither a folder here nor a model on ModelScope',
    "no-revision": 'ModelError: "me/good" is neither a folder here nor a model on ModelScope',
    "rows-no-token": 'DataError: ModelScope refuses to give the dataset "me/private" (401)',
    "rows-nowhere": 'DataError: "me/nowhere" is neither a folder here nor a dataset on ModelScope',
}


def check(found, expected):
    if isinstance(expected, str):
        assert isinstance(found, str), found
        assert found.startswith(expected), found
        assert "\n  " in found, "an error says what to do"
    else:
        assert found == expected


@pytest.mark.parametrize("case", HUGGINGFACE)
def test_huggingface(said, case):
    check(said[case], HUGGINGFACE[case])


@pytest.mark.parametrize("case", MODELSCOPE)
def test_modelscope(said_ms, case):
    check(said_ms[case], MODELSCOPE[case])


def test_a_bad_row_of_a_hub_dataset_is_named_with_its_file(said, said_ms):
    for each in (said, said_ms):
        assert "train.jsonl row 31 is not valid JSON" in each["bad-row"]


def test_private_and_unknown_datasets_are_told(said):
    assert said["rows-no-token"].startswith("DataError:") and "me/private" in said["rows-no-token"]
    assert said["rows-nowhere"].startswith("DataError:") and "me/nowhere" in said["rows-nowhere"]


def test_a_cut_connection_is_gone_on_with_not_begun_again(said, said_ms, hub):
    """The part that came is not asked for again: a request names the byte to go on from."""
    of_huggingface = [line for line in hub.asked if "me/cut/resolve" in line and "bytes=" in line]
    of_modelscope = [line for line in hub.asked if line.startswith("GET /api/v1/models/me/cut/repo bytes=")]
    for lines in (of_huggingface, of_modelscope):
        assert lines
        assert all(int(line.split("bytes=")[1].split("-")[0]) >= 10 << 20 for line in lines)


def test_only_what_the_split_needs_is_fetched(said, hub):
    assert not [line for line in hub.asked if "me/rows/resolve" in line and "huge.bin" in line]


def test_a_file_is_not_fetched_again(said, ask, hub):
    before = len([line for line in hub.asked if line.startswith("GET /me/good/resolve")])
    ask([{"name": "me/good"}])
    assert len([line for line in hub.asked if line.startswith("GET /me/good/resolve")]) == before


def test_offline_uses_what_is_there_and_names_what_is_not(said, ask):
    (shard,) = (ask.home / "hf" / "hub" / "models--me--cut").glob("snapshots/*/model.safetensors")
    shard.unlink()
    url = {"hf_hub_url": "me/rows"}
    cases = [
        {"name": "me/good"},
        {"name": "me/cut"},
        {"name": "me/never"},
        {"entry": url},
        {"entry": {"hf_hub_url": "me/never"}},
    ]
    good, cut, never, rows, no_rows = ask(cases, HF_HUB_OFFLINE="1")
    check(good, COMMON["good"])
    check(rows, COMMON["rows"])
    check(cut, 'ModelError: the model "me/cut" is not complete on this machine: model.safetensors missing')
    check(never, 'ModelError: the model "me/never" is not in the cache on this machine')
    check(no_rows, 'DataError: the dataset "me/never" is not in the cache on this machine')
    assert "hf download me/never --repo-type dataset" in no_rows


def test_offline_with_modelscope(said_ms, ask):
    (shard,) = (ask.home / "ms").rglob("me--good/snapshots/master/model-2-of-2.safetensors")
    kept = shard.read_bytes()
    shard.unlink()
    cases = [{"name": "me/cut"}, {"name": "me/good"}, {"name": "me/never"}]
    cut, good, never = ask(cases, HF_HUB_OFFLINE="1", USE_MODELSCOPE_HUB="1")
    shard.write_bytes(kept)
    check(cut, COMMON["cut"])
    check(good, 'ModelError: the model "me/good" is not complete on this machine: model-2-of-2.safetensors missing')
    check(never, 'ModelError: the model "me/never" is not in the cache on this machine')


def test_a_hub_that_cannot_be_reached_is_not_needed_for_what_is_there(ask, said, said_ms):
    nowhere = "http://127.0.0.1:9"
    (good,) = ask([{"name": "me/good"}], HF_ENDPOINT=nowhere)
    check(good, COMMON["good"])
    (good,) = ask([{"name": "me/good"}], MODELSCOPE_ENDPOINT=nowhere, USE_MODELSCOPE_HUB="1", **FEW_RETRIES)
    check(good, COMMON["good"])


@pytest.mark.parametrize("modelscope", [False, True])
def test_a_full_disk_is_said(ask, hub, tmp_path, modelscope):
    """A file system of 4 MB, mounted in a namespace of its own, and a model of 12."""
    place = tmp_path / "small"
    place.mkdir()
    prefix = [
        "unshare",
        "--user",
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
        'mount -t tmpfs -o size=4m tmpfs "$0" && exec "$@"',
    ]
    if subprocess.run([*prefix, str(place), "true"], capture_output=True).returncode:
        pytest.skip("file systems cannot be mounted here")
    environment = {"HF_HOME": str(place), "MODELSCOPE_CACHE": str(place), "USE_MODELSCOPE_HUB": "1" if modelscope else ""}
    if modelscope:
        pytest.importorskip("modelscope_hub")
    (found,) = ask([{"name": "me/cut"}], prefix=[*prefix, str(place)], **environment)
    check(found, 'ModelError: the disk is full: the model "me/cut" does not fit into')
    assert "cache_dir" in found
    assert Path(place).is_dir()
