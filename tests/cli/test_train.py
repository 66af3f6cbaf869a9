"""luthier train: which workflow runs, in the foreground and in the background. A fake stands in for the training itself."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from luthier.cli.train import trained
from luthier.config import Config
from luthier.runs import Run
from tests.cli.conftest import with_fake_training


@pytest.fixture
def train(luthier):
    named = ("model_name_or_path=m", "dataset=identity")
    return lambda *words, **options: luthier("train", *words, *named, fake_training=True, **options)


@pytest.fixture
def folder(tmp_path: Path):
    yield tmp_path / "run"
    run = Run(tmp_path / "run")
    process = run.process() if run.status_file.is_file() else None
    if process is not None:
        process.kill()


def wait_for(condition, timeout_s: float = 120.0):
    end = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)
    return value


def test_errors_of_the_config_come_before_anything_else(train, folder: Path) -> None:
    done = train("lora_rnak=8", "learning_rat=1", f"output_dir={folder}")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "lora_rank" in done.stderr and "learning_rate" in done.stderr and not folder.exists()


def test_no_words(luthier) -> None:
    done = luthier("train")
    assert done.returncode == 2 and "needs a configuration" in done.stderr


def test_train_in_the_foreground(train, folder: Path) -> None:
    done = train("--do_train", "--max_steps", 3, "--output_dir", folder, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"folder": str(folder), "state": "finished", "train_loss": 1 / 3}
    assert "Finished at step 3 of 3: run\n" in done.stderr
    assert "luthier chat --adapter_name_or_path run" in done.stderr
    assert "step 3/3" in done.stderr and "INFO step 3/3" in Run.open(folder).log_file.read_text()
    again = train("--do_train", "--max_steps", 3, "--output_dir", folder)
    assert again.returncode == 2 and "already holds a train run (finished)" in again.stderr


def test_training_needs_a_model_and_data_even_if_do_train_is_not_said(luthier) -> None:
    done = luthier("train", "max_steps=3")
    assert done.returncode == 2 and "model_name_or_path" in done.stderr and "dataset" in done.stderr


def test_quiet(train, folder: Path) -> None:
    done = train("-q", "max_steps=3", f"output_dir={folder}")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_predict_alone_and_after_training(train, folder: Path, tmp_path: Path) -> None:
    alone = train("--do_predict", "--predict_with_generate")
    assert alone.returncode == 0, alone.stderr
    made = list((tmp_path / "runs").glob("predict-*/generated_predictions.jsonl"))
    assert len(made) == 1 and made[0].read_text() == "None m"
    detached = train("--do_predict", "--predict_with_generate", "--detach", "--json")
    assert json.loads(detached.stdout)["folder"] == str(tmp_path / "answers"), detached.stderr
    wait_for(lambda: Run.open(tmp_path / "answers").status()["state"] == "finished")
    words = [
        "do_train=true",
        "do_predict=true",
        "predict_with_generate=true",
        "max_steps=2",
        f"output_dir={folder}",
        "finetuning_type=lora",
    ]
    both = train(*words)
    assert both.returncode == 0, both.stderr
    assert Run.open(folder).predictions_file.read_text() == f"['{folder}'] m"
    assert Run.open(folder).read_results() == {"train_loss": 0.5, "predict_rouge-1": 50.0}


def test_what_was_trained_is_what_answers(tmp_path: Path) -> None:
    run = Run(tmp_path)
    config = Config(finetuning_type="lora", adapter_name_or_path=["a", "b"], model_name_or_path="m")
    assert trained(config, run).adapter_name_or_path == ["a", str(tmp_path)]
    assert trained(config.model_copy(update={"create_new_adapter": True}), run).adapter_name_or_path == [
        "a",
        "b",
        str(tmp_path),
    ]
    full = trained(Config(finetuning_type="full", model_name_or_path="m"), run)
    assert full.model_name_or_path == str(tmp_path) and full.adapter_name_or_path is None


def test_a_failure_is_written_down(train, folder: Path) -> None:
    done = train("stage=pt", f"output_dir={folder}")
    assert done.returncode == 2 and done.stderr.endswith("TrainingError: this training fails\n  Nothing helps.\n")
    assert Run.open(folder).status()["reason"] == "this training fails"


def test_detached_life(train, luthier, folder: Path) -> None:
    """Started, followed, stopped, resumed to the end, removed: what a person does with a background run."""
    done = train("max_steps=100000", f"output_dir={folder}", "--detach")
    assert done.returncode == 0, done.stderr
    for verb in ("runs logs -f run", "runs show run", "runs stop run"):
        assert f"luthier {verb}" in done.stdout
    run = Run.open(folder)
    assert run.status()["state"] in ("queued", "running") and run.status()["detached"]
    assert run.status()["pid"] != 0
    wait_for(lambda: run.status().get("step", 0) >= 5)
    assert run.status()["state"] == "running"
    assert "running" in luthier("runs").stdout
    second = train("max_steps=100000", f"output_dir={folder}", "--detach")
    assert second.returncode == 2 and "holds a run that is running" in second.stderr

    stopped = luthier("runs", "stop", folder)
    assert stopped.returncode == 0 and "The run is stopped (asked to stop), step" in stopped.stdout, stopped.stderr
    step = run.status()["step"]
    assert step >= 5 and run.checkpoints()[0].name == f"step-{step}"
    assert "luthier runs resume run" in stopped.stdout

    last = step + 40
    resumed = luthier("runs", "resume", "run", f"max_steps={last}", fake_training=True)  # in the background again, as it was
    assert resumed.returncode == 0 and "Started in the background" in resumed.stdout, resumed.stderr
    followed = luthier("runs", "logs", "-f", folder)
    assert followed.returncode == 0 and f"step {last}/{last}" in followed.stdout and "The run is finished." in followed.stderr
    assert [row["step"] for row in run.read_metrics()] == list(range(1, last + 1))
    assert followed.stdout.count(f"step {step}/") == 1

    shown = json.loads(luthier("runs", "show", folder, "--json").stdout)
    assert shown["state"] == "finished" and shown["results"]["train_loss"] == 1 / last
    assert luthier("runs", "rm", folder).returncode == 2 and folder.exists()  # no terminal to ask on
    assert luthier("runs", "rm", folder, "--yes").returncode == 0 and not folder.exists()


def test_a_detached_run_that_fails_at_once_says_so(train, luthier, folder: Path) -> None:
    done = train("stage=pt", f"output_dir={folder}", "--detach")
    assert done.returncode == 0
    run = wait_for(lambda: Run.open(folder) if not Run.open(folder).is_live else None)
    assert run.status()["state"] == "failed" and run.status()["reason"] == "this training fails"
    logs = luthier("runs", "logs", folder).stdout
    assert "TrainingError: this training fails" in logs and "Traceback" not in logs


def test_detaching_over_a_finished_run_is_not_mistaken_for_it(train, folder: Path) -> None:
    train("max_steps=2", f"output_dir={folder}")
    done = train("max_steps=100000", f"output_dir={folder}", "--detach", "overwrite_output_dir=true")
    assert done.returncode == 0, done.stderr
    run = Run.open(folder)
    assert run.is_live  # at once: nobody takes the earlier end for the new one's
    assert run.status()["before"]["state"] == "finished"
    wait_for(lambda: run.status()["state"] == "running" and run.status().get("total_steps") == 100000)
    assert "before" not in run.status()
    run.process().kill()
    wait_for(lambda: run.status()["state"] == "died")


def test_a_detached_run_that_fails_before_it_starts_leaves_the_earlier_one_protected(train, folder: Path) -> None:
    train("max_steps=2", f"output_dir={folder}")
    metrics = Run.open(folder).metrics_file.read_text()
    train("dataset_dir=nowhere", f"output_dir={folder}", "--detach", "overwrite_output_dir=true")
    wait_for(lambda: not Run.open(folder).is_live)
    assert Run.open(folder).status()["state"] == "failed" and Run.open(folder).status()["reason"] == "no folder nowhere"
    assert Run.open(folder).metrics_file.read_text() == metrics
    again = train("max_steps=2", f"output_dir={folder}")
    assert again.returncode == 2 and "already holds a train run (finished)" in again.stderr


def test_refusals_come_back_to_the_shell_also_with_detach(train, folder: Path) -> None:
    train("max_steps=2", f"output_dir={folder}")
    before = Run.open(folder).status()
    done = train("max_steps=2", f"output_dir={folder}", "--detach")
    assert done.returncode == 2 and "already holds a train run (finished)" in done.stderr
    assert Run.open(folder).status() == before


def test_kill_now_and_kill_9(train, luthier, folder: Path) -> None:
    train("max_steps=100000", f"output_dir={folder}", "--detach")
    run = Run.open(folder)
    wait_for(lambda: run.status().get("step", 0) >= 5)
    now = luthier("runs", "stop", folder, "--now")
    assert now.returncode == 0 and "stopped (killed by luthier runs stop --now)" in now.stdout, now.stderr
    assert luthier("runs", "stop", folder).returncode == 2
    luthier("runs", "resume", folder, fake_training=True)
    wait_for(lambda: run.status()["state"] == "running" and run.status().get("step", 0) >= 10)
    run.process().send_signal(signal.SIGKILL)
    wait_for(lambda: run.status()["state"] == "died")
    listed = luthier("runs", "list").stdout
    assert "died" in listed and "/100000" in listed
    assert luthier("runs", "show", folder).stdout.count("ended without a word after step") == 1


def test_a_detached_run_outlives_the_shell_that_started_it(train, folder: Path, tmp_path: Path) -> None:
    command = (
        f"{sys.executable} -m luthier train max_steps=100000 model_name_or_path=m dataset=identity output_dir={folder} --detach"
    )
    shell = subprocess.Popen(["bash", "-c", f"{command}; sleep 30"], env=with_fake_training(), start_new_session=True)
    try:
        wait_for(lambda: Run(folder).status_file.is_file() and Run.open(folder).status().get("step", 0) >= 2)
        os.killpg(shell.pid, signal.SIGHUP)  # what a closed terminal sends
        os.killpg(shell.pid, signal.SIGKILL)
        shell.wait()
        step = Run.open(folder).status()["step"]
        wait_for(lambda: Run.open(folder).status()["step"] > step + 3)
    finally:
        if shell.poll() is None:
            os.killpg(shell.pid, signal.SIGKILL)
