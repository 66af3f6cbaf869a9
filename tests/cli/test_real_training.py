"""The same life with the real trainer: Ctrl-C, stop, kill -9 and resume, on a model of 260,000 parameters."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from luthier.runs import Run
from tests.cli.test_train import wait_for

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def no_run_is_left(tmp_path: Path):
    yield
    process = Run.open(tmp_path / "run").process() if (tmp_path / "run" / "status.json").is_file() else None
    if process is not None:
        process.kill()


@pytest.fixture
def words(assets: Path, tmp_path: Path) -> list[str]:
    rows = [{"instruction": f"What is {i} and {i}?", "input": "", "output": f"It is {2 * i}."} for i in range(40)]
    (tmp_path / "sums.json").write_text(json.dumps(rows))
    settings = {
        "model_name_or_path": assets / "models" / "stories260K",
        "dataset": tmp_path / "sums.json",
        "stage": "sft",
        "finetuning_type": "lora",
        "template": "default",
        "output_dir": tmp_path / "run",
        "per_device_train_batch_size": 2,
        "max_steps": 400,
        "save_steps": 10,
        "logging_steps": 1,
        "save_total_limit": 2,
    }
    return [f"{key}={value}" for key, value in settings.items()]


def start(words: list[str], cwd: Path) -> subprocess.Popen[str]:
    argv = [sys.executable, "-m", "luthier", "train", *words]
    return subprocess.Popen(argv, cwd=cwd, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def at_step(folder: Path, step: int) -> bool:
    return Run(folder).status_file.is_file() and Run.open(folder).status().get("step", 0) >= step


def test_ctrl_c_saves_and_the_same_command_goes_on(words: list[str], luthier, tmp_path: Path) -> None:
    job = start(words, tmp_path)
    wait_for(lambda: at_step(tmp_path / "run", 12))
    job.send_signal(signal.SIGINT)
    _, said = job.communicate(timeout=120)
    run = Run.open(tmp_path / "run")
    step = run.status()["step"]
    assert job.returncode == 130 and "Traceback" not in said, said
    assert "Go on with: luthier runs resume run" in said
    assert run.status()["state"] == "stopped" and run.checkpoints()[0].name == f"step-{step}"
    again = luthier("train", *words, f"max_steps={400}")
    assert again.returncode == 0, again.stderr
    assert run.status()["state"] == "finished"
    assert [row["step"] for row in run.read_metrics() if "loss" in row] == list(range(1, 401))


def test_everything_that_a_person_finds_afterwards(words: list[str], luthier, tmp_path: Path) -> None:
    done = luthier("train", *words, "max_steps=40", "val_size=0.1", "eval_strategy=steps", "eval_steps=10")
    assert done.returncode == 0, done.stderr
    assert "The curve (" in done.stderr and "step 40/40  loss" in done.stderr
    run = Run.open(tmp_path / "run")
    for file in (
        run.loss_plot,
        run.eval_plot,
        run.metrics_file,
        run.trainer_log_file,
        run.curve_reading,
        run.model_card,
        run.log_file,
    ):
        assert file.stat().st_size > 0, file
    assert list(run.tensorboard_folder.glob("events.*")) and run.has_model()
    assert run.read_results("train")["train_loss"] == run.read_results()["train_loss"]


def test_killed_in_the_background_and_resumed(words: list[str], luthier, tmp_path: Path) -> None:
    assert luthier("train", *words, "--detach").returncode == 0
    run = Run.open(tmp_path / "run")
    wait_for(lambda: at_step(run.folder, 15))
    os.kill(run.status()["pid"], signal.SIGKILL)
    wait_for(lambda: run.status()["state"] == "died")
    assert luthier("runs", "resume", "run").returncode == 0
    wait_for(lambda: run.status()["state"] == "running" and run.status().get("step", 0) > 30)
    stopped = luthier("runs", "stop", "run")
    assert "The run is stopped" in stopped.stdout, stopped.stderr
    done = luthier("runs", "resume", "run", "--no-detach")
    assert done.returncode == 0, done.stderr
    assert [row["step"] for row in run.read_metrics() if "loss" in row] == list(range(1, 401))
