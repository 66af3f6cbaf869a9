"""Jobs are processes of their own: one at a time, refused before anything is written, stopped while they wait."""

import subprocess
import sys
import time

import psutil
import pytest

from luthier.config import Config
from luthier.errors import ConfigError, LuthierError
from luthier.runs import Run
from luthier.webui import jobs

SETTINGS = {"model_name_or_path": "starter", "stage": "sft", "dataset": ["identity"]}


@pytest.fixture
def busy(tmp_path, monkeypatch):
    """A run that is at work: a process that sleeps in its name."""
    monkeypatch.chdir(tmp_path)
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
    run = Run.announce(Config(output_dir="saves/busy", model_name_or_path="starter"), "train", lambda _: process.pid)
    run.update_status(state="running", pid=process.pid, pid_started=psutil.Process(process.pid).create_time())
    yield process
    process.kill()
    process.wait()


def wait_for(run, state, timeout_s=30):
    until = time.monotonic() + timeout_s
    while time.monotonic() < until:
        if run.status().get("state") == state:
            return
        time.sleep(0.1)
    raise AssertionError(run.status())


def test_a_second_run_waits_for_the_first_and_can_be_stopped_there(busy):
    run = jobs.start("train", {**SETTINGS, "output_dir": "saves/second"})
    assert run.status()["state"] == "queued"
    assert run.process() is not None
    time.sleep(2.5)
    assert run.status()["state"] == "queued", run.log_file.read_text()
    assert not jobs.is_my_turn(run.folder)
    with pytest.raises(ConfigError, match="holds a run that is"):  # two starts of one folder
        jobs.start("train", {**SETTINGS, "output_dir": "saves/second"})
    jobs.stop(run)
    wait_for(run, "stopped")
    busy.kill()
    busy.wait()
    assert jobs.is_my_turn(run.folder)


def test_the_parts_of_a_comparison_are_listed_as_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("compared", "compared/base", "compared/tuned"):
        Run.create(Config(output_dir=f"saves/{name}", model_name_or_path="starter"), kind="predict").update_status(
            state="finished"
        )
    assert [run.folder.name for run, _ in jobs.listed()] == ["compared"]


def test_the_settings_of_a_job_are_a_file_for_its_user_alone(busy):
    run = jobs.start("train", {**SETTINGS, "output_dir": "saves/third", "run_name": "none"})
    file = jobs.job_file(run.folder)
    assert file.stat().st_mode & 0o077 == 0
    assert 'run_name: "none"' in file.read_text()
    jobs.abort(run)
    assert run.status()["state"] == "stopped" and run.process() is None


@pytest.mark.parametrize(
    "settings",
    [
        {"output_dir": "saves/x", "learning_rate": "fast"},
        {"output_dir": "saves/x", "lora_rnak": 4},
        {},
    ],
)
def test_what_cannot_begin_writes_nothing(tmp_path, monkeypatch, settings):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LuthierError):
        jobs.start("train", {**SETTINGS, **settings})
    assert not (tmp_path / "saves").exists()


def test_a_folder_that_holds_a_model_is_not_overwritten(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "saves" / "mine"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"precious")
    with pytest.raises(ConfigError, match="already holds a trained model"):
        jobs.start("train", {**SETTINGS, "output_dir": str(folder)})
    assert (folder / "model.safetensors").read_bytes() == b"precious"


def test_a_full_disk_is_said_before_the_start(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("luthier.runs.admission.free_bytes", lambda _: 1000)
    with pytest.raises(LuthierError, match="the disk is nearly full"):
        jobs.start("train", {**SETTINGS, "output_dir": "saves/x"})
    assert not (tmp_path / "saves").exists()
