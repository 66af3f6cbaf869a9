"""A real manual to a training, by the commands that a user types: without a model, and with `luthier serve` and the starter."""

import json
import math
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from luthier.documents.filters import meanings

pytestmark = pytest.mark.slow
TRAIN = ["--stage", "sft", "--do_train", "--model_name_or_path", "starter", "--finetuning_type", "lora", "--max_steps", "4"]
TRAIN += ["--per_device_train_batch_size", "2", "--logging_steps", "1"]


def luthier(*words: str, cwd: Path) -> str:
    done = subprocess.run([sys.executable, "-m", "luthier", *words], cwd=cwd, capture_output=True, text=True, timeout=480)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def trained(folder: Path, dataset: str) -> None:
    """Train on a registered dataset, by its name alone."""
    luthier("train", *TRAIN, "--dataset", dataset, "--dataset_dir", "data", "--output_dir", "run", cwd=folder)
    assert (folder / "run" / "adapter_model.safetensors").is_file()
    losses = [
        row["loss"]
        for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()
        if "loss" in (row := json.loads(line))
    ]
    assert losses and all(math.isfinite(loss) for loss in losses)


def test_a_manual_without_a_model(tmp_path, assets):
    manual = assets / "data" / "seafile-manual"
    (tmp_path / "seafile").mkdir()
    (tmp_path / "data").mkdir()
    sources = json.dumps([os.path.relpath(manual / language, tmp_path / "seafile") for language in ("zh", "en")])
    (tmp_path / "seafile" / "project.yaml").write_text(f"sources: {sources}\n")
    told = luthier("documents", "run", "seafile/project.yaml", "--dataset_dir", "data", cwd=tmp_path)
    assert "--dataset seafile --dataset_dir data" in told
    info = json.loads((tmp_path / "data" / "dataset_info.json").read_text())
    assert set(info) == {"seafile", "seafile_val", "seafile_test"}
    trained(tmp_path, "seafile")
    status = json.loads(luthier("documents", "status", "seafile", "--json", cwd=tmp_path))
    assert status["good"] > 200 and not status["problems"]


@pytest.fixture
def served(tmp_path):
    """`luthier serve` with the starter."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    command = [sys.executable, "-m", "luthier", "serve", "--port", str(port), "--model_name_or_path", "starter"]
    with (tmp_path / "serve.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=tmp_path)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(400):
            try:
                urllib.request.urlopen(f"{url}/health", timeout=5).close()
                break
            except OSError:
                assert process.poll() is None, (tmp_path / "serve.log").read_text()
                time.sleep(0.25)
        yield f"{url}/v1"
    finally:
        process.terminate()
        process.wait(timeout=30)


def test_a_manual_by_luthier_serve(tmp_path, assets, served):
    """The starter knows nothing of the manual, so every filter is off: this proves the wire, the jobs and the dataset."""
    folder = tmp_path / "seafile"
    (folder / "docs").mkdir(parents=True)
    (tmp_path / "data").mkdir()
    for language in ("zh", "en"):
        name = min(
            (assets / "data" / "seafile-manual" / language).rglob("*.md"), key=lambda file: abs(file.stat().st_size - 2500)
        )
        (folder / "docs" / f"{language}.md").write_bytes(name.read_bytes())
    off = json.dumps([code for code, entry in meanings().items() if entry["blocks"]])
    (folder / "project.yaml").write_text(f"""
sources: [docs]
split: {{val: 0, test: 0}}
ask: {{generator: model, per_1000_chars: 1, max_per_chunk: 1, unanswerable: 0}}
judge: {{enabled: false}}
filter: {{off: {off}}}
dedup: {{near: 1.0}}
budget: {{pilot: 0}}
endpoint: {{base_url: "{served}", model: starter, json_mode: schema, max_tokens: 400, temperature: 0.7, concurrency: 4}}
""")
    luthier("documents", "run", "seafile/project.yaml", "--yes", "--dataset_dir", "data", cwd=tmp_path)
    status = json.loads(luthier("documents", "status", "seafile", "--json", cwd=tmp_path))
    done = {job["stage"]: job["done"] for job in status["jobs"]}
    assert done["ask"] >= 2 and done["answer"] >= 1
    assert status["spent"]["ask"]["tokens_out"] > 0  # what the server counted
    trained(tmp_path, "seafile")
