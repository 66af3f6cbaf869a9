"""The run folder: what create refuses, what it writes, and what a killed or deleted run looks like afterwards."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from luthier.config import Config
from luthier.errors import ConfigError, LuthierError
from luthier.runs import Run, find_run, known_runs, read_rows, resolve_checkpoint
from luthier.runtime.pointers import Pointers
from luthier.runtime.processes import this_process

KILLED_JOB = """
import sys, time
from luthier.config import Config
from luthier.runs import Run
run = Run.create(Config(output_dir=sys.argv[1]))
run.start()
run.append_metrics({"step": 7, "loss": 0.5, "total_steps": 100})
print("ready", flush=True)
time.sleep(60)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "run"


def finished(folder: Path, **settings) -> Run:
    run = Run.create(Config(output_dir=str(folder), **settings))
    run.start()
    run.append_metrics({"step": 1, "loss": 2.0})
    run.update_status(state="finished")
    return run


def interrupted(folder: Path, *steps: int) -> Run:
    run = Run.create(Config(output_dir=str(folder)))
    run.start()
    for step in steps:
        run.append_metrics({"step": step, "loss": 1.0})
        run.checkpoint(step).mkdir(parents=True)
    run.update_status(state="failed", reason="test")
    return run


def listing(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# ---- create -----------------------------------------------------------------------------------------------------------


def test_create_writes_what_the_user_set_and_no_secret(folder: Path) -> None:
    run = Run.create(Config(output_dir=str(folder), stage="pt", learning_rate=1e-4, hf_hub_token="hf_SECRET", template=None))
    text = run.config_file.read_text()
    assert run.saved_config() == {"output_dir": str(folder), "stage": "pt", "learning_rate": 1e-4, "template": None}
    assert "SECRET" not in text and "SECRET" not in run.status_file.read_text()
    assert run.status()["state"] == "queued" and run.status()["pid"] == os.getpid()


def test_a_finished_run_is_kept(folder: Path) -> None:
    finished(folder)
    before = listing(folder)
    with pytest.raises(ConfigError, match=r"already holds a train run \(finished\)") as caught:
        Run.create(Config(output_dir=str(folder)))
    assert "resume_from_checkpoint=auto" in str(caught.value) and "overwrite_output_dir=true" in str(caught.value)
    assert listing(folder) == before


def test_overwriting_touches_nothing_before_start(folder: Path) -> None:
    finished(folder).checkpoint(1).mkdir(parents=True)
    (folder / "notes.txt").write_text("mine")
    (folder / "adapter_model.safetensors").write_text("old weights")
    before = listing(folder)
    run = Run.create(Config(output_dir=str(folder), overwrite_output_dir=True))
    run.update_status(note="data is being read")
    assert listing(folder) == before
    run.start()
    assert run.read_metrics() == [] and run.checkpoints() == [] and run.status()["state"] == "running"
    assert "loss" not in run.status()
    assert (folder / "notes.txt").read_text() == "mine"
    assert (folder / "adapter_model.safetensors").read_text() == "old weights"  # until the new model is saved


def test_a_mistake_before_start_leaves_the_earlier_run_as_it_was(folder: Path) -> None:
    finished(folder)
    before = listing(folder)
    with pytest.raises(LuthierError), Run.create(Config(output_dir=str(folder), overwrite_output_dir=True)):
        raise LuthierError("no such dataset")
    assert listing(folder) == before


@pytest.mark.parametrize("wish", [None, "auto", "true"])
def test_an_interrupted_run_is_gone_on_with(folder: Path, wish: str | None) -> None:
    interrupted(folder, 10, 20, 100)
    run = Run.create(Config(output_dir=str(folder), resume_from_checkpoint=wish))
    run.start()
    assert [path.name for path in run.resume_checkpoints()] == ["step-100", "step-20", "step-10"]
    assert run.status()["step"] == 100 and run.status()["loss"] == 1.0
    assert len(run.read_metrics()) == 3


def test_resume_false_does_not_throw_checkpoints_away(folder: Path) -> None:
    interrupted(folder, 10)
    with pytest.raises(ConfigError, match="overwrite_output_dir"):
        Run.create(Config(output_dir=str(folder), resume_from_checkpoint="false"))


def test_an_interrupted_run_without_checkpoints_starts_over(folder: Path) -> None:
    interrupted(folder)
    run = Run.create(Config(output_dir=str(folder)))
    run.start()
    assert run.resume_checkpoints() == []


def test_resume_from_a_named_checkpoint_or_run(tmp_path: Path) -> None:
    other = interrupted(tmp_path / "other", 10, 20)
    make = lambda wish: Run.check(Config(output_dir=str(tmp_path / "new"), resume_from_checkpoint=wish))  # noqa: E731
    assert make(str(other.folder / "checkpoint-10")).resume_checkpoints() == [other.checkpoint(10)]
    assert make(str(other.checkpoint(20))).resume_checkpoints() == [other.checkpoint(20)]
    assert make(str(other.folder)).resume_checkpoints() == [other.checkpoint(20), other.checkpoint(10)]
    with pytest.raises(ConfigError, match="there is no checkpoint in"):
        make(str(tmp_path / "nowhere"))
    with pytest.raises(ConfigError, match="there is no checkpoint in"):
        make("true")
    assert make("auto").resume_checkpoints() == []


def test_overwriting_refuses_to_delete_what_it_starts_from(folder: Path) -> None:
    interrupted(folder, 10)
    settings = {"output_dir": str(folder), "overwrite_output_dir": True}
    with pytest.raises(ConfigError, match=r"adapter_name_or_path .* lies in output_dir"):
        Run.create(Config(**settings, adapter_name_or_path=[str(folder / "checkpoint-10")]))


def test_output_dir_is_not_the_model(folder: Path) -> None:
    folder.mkdir()
    with pytest.raises(ConfigError, match="is the folder of model_name_or_path"):
        Run.create(Config(output_dir=str(folder), model_name_or_path=str(folder)))


def test_a_folder_with_a_model_of_another_program_is_kept(folder: Path) -> None:
    folder.mkdir()
    (folder / "adapter_model.safetensors").write_text("weights")
    with pytest.raises(ConfigError, match="already holds a trained model"):
        Run.create(Config(output_dir=str(folder)))
    Run.create(Config(output_dir=str(folder), overwrite_output_dir=True))


def test_unwritable_folders(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/luthier")):
        with pytest.raises(LuthierError, match=r"cannot be (made|written)|is a file"):
            Run.create(Config(output_dir=str(path)))


def test_a_nearly_full_disk_is_refused_with_both_numbers(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("luthier.runs.admission.free_bytes", lambda path: 5 * 1024**2)
    with pytest.raises(LuthierError, match=r"needs 200\.0 MB, 5\.0 MB are free"):
        Run.create(Config(output_dir=str(folder)))
    assert not folder.exists()


def test_unset_output_dir_makes_a_new_folder_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    first, second = Run.create(Config()), Run.create(Config(), kind="predict")
    assert first.folder.parent == tmp_path / "runs" and first.folder.name.startswith("train-")
    assert second.folder.name.startswith("predict-")
    assert Run.create(Config()).folder not in (first.folder, second.folder)


def test_predict_in_the_folder_of_a_training_is_a_guest(folder: Path) -> None:
    train = finished(folder)
    before = listing(folder)
    guest = Run.create(Config(output_dir=str(folder), do_predict=True), kind="predict")
    guest.start()
    guest.write_results("predict", {"predict_rouge-1": 60.0})
    guest.update_status(state="finished")
    assert {name: data for name, data in listing(folder).items() if name in before} == before
    assert Run.open(folder).status()["kind"] == "train" and guest.status_file.name == "predict_status.json"
    with pytest.raises(ConfigError, match="already holds a predict run"):
        Run.create(Config(output_dir=str(folder)), kind="predict")
    train.clear_reports()
    assert not guest.status_file.exists() and not guest.results_file("all").exists()


# ---- a living, stopping, killed run -----------------------------------------------------------------------------------


def test_a_killed_run_is_died_with_its_last_step(folder: Path) -> None:
    job = subprocess.Popen([sys.executable, "-c", KILLED_JOB, str(folder)], stdout=subprocess.PIPE)
    try:
        assert job.stdout is not None and job.stdout.readline() == b"ready\n"
        run = Run.open(folder)
        assert run.status()["state"] == "running" and run.process() is not None
        for settings in ({}, {"overwrite_output_dir": True}, {"resume_from_checkpoint": "auto"}):
            with pytest.raises(ConfigError, match="holds a run that is running"):
                Run.create(Config(output_dir=str(folder), **settings))
        with pytest.raises(ConfigError, match="running"):
            run.remove()
        run.request_stop()
        assert run.status()["state"] == "stopping"
    finally:
        job.kill()  # SIGKILL: the job cannot say good-bye
        job.wait()
    status = run.status()
    assert status["state"] == "died" and status["step"] == 7 and "after step 7" in status["reason"]
    assert run.process() is None


def test_a_process_number_used_again_is_not_our_run(folder: Path) -> None:
    run = finished(folder)
    status = json.loads(run.status_file.read_text()) | {"state": "running", "pid_started": time.time() - 3600}
    run.status_file.write_text(json.dumps(status))
    assert Run.open(folder).status()["state"] == "died"
    run.status_file.write_text(json.dumps(status | {"host": "another-machine"}))
    assert Run.open(folder).status()["state"] == "running"  # cannot be seen from here


def test_with_run_says_how_it_ended(tmp_path: Path) -> None:
    def end(error: BaseException | None) -> dict:
        folder = tmp_path / type(error).__name__
        try:
            with Run.create(Config(output_dir=str(folder))) as run:
                run.start()
                if error:
                    raise error
        except BaseException as raised:
            assert raised is error
        return Run.open(folder).status()

    assert end(None)["state"] == "finished"
    assert end(KeyboardInterrupt())["state"] == "stopped"
    assert end(ConfigError("bad key", "do this"))["reason"] == "bad key"
    assert end(ValueError("bug"))["reason"] == "ValueError: bug"


def test_stop_request_belongs_to_one_start(folder: Path) -> None:
    run = Run.create(Config(output_dir=str(folder)))
    run.request_stop("Ctrl-C")
    assert run.stop_requested() and run.stop_reason() == "Ctrl-C"
    run.start()
    assert not run.stop_requested() and run.stop_reason() is None


def test_two_processes_that_make_the_same_folder(folder: Path) -> None:
    """Both pass the check, one claims the folder first."""
    ours = Run.check(Config(output_dir=str(folder)))
    theirs = subprocess.Popen([sys.executable, "-c", KILLED_JOB, str(folder)], stdout=subprocess.PIPE)
    try:
        assert theirs.stdout is not None and theirs.stdout.readline() == b"ready\n"
        ours._begin_with(Config(output_dir=str(folder)), this_process())
        with pytest.raises(ConfigError, match="holds a run that is running"):
            ours._claim()
    finally:
        theirs.kill()
        theirs.wait()


# ---- numbers ----------------------------------------------------------------------------------------------------------


def test_trainer_log_has_the_fields_that_llamafactory_users_read(folder: Path) -> None:
    run = Run.create(Config(output_dir=str(folder)))
    run.start()
    row = {"step": 20, "total_steps": 80, "loss": 1.25, "learning_rate": 5e-5, "epoch": 0.75, "elapsed_s": 30.0}
    run.append_metrics(row | {"tokens_per_second": 900.5, "tokens_seen": 27000, "grad_norm": 1.0})
    run.append_metrics({"step": 20, "total_steps": 80, "eval_loss": 1.5, "epoch": 0.75, "elapsed_s": 31.0})
    lines = [json.loads(line) for line in run.trainer_log_file.read_text().splitlines()]
    assert lines[0] == {
        "current_steps": 20, "total_steps": 80, "loss": 1.25, "lr": 5e-5, "epoch": 0.75, "percentage": 25.0,
        "elapsed_time": "0:00:30", "remaining_time": "0:01:30", "throughput": 900.5, "total_tokens": 27000,
    }  # fmt: skip
    assert lines[1]["eval_loss"] == 1.5 and "loss" not in lines[1]
    assert run.read_metrics()[0]["grad_norm"] == 1.0
    status = Run.open(folder).status()
    assert (status["step"], status["loss"], status["eval_loss"]) == (20, 1.25, 1.5)


def test_truncating_drops_what_came_after_the_checkpoint(folder: Path) -> None:
    run = Run.create(Config(output_dir=str(folder)))
    for step in (1, 2, 3, 4):
        run.append_metrics({"step": step, "loss": 0.1 * step})
    run.append_metrics({"step": 2, "eval_loss": 1.0})
    run.truncate_metrics(2)
    assert Run.open(folder).status()["step"] == 2
    assert [row["step"] for row in run.read_metrics()] == [1, 2, 2]
    assert [row["current_steps"] for row in read_rows(run.trainer_log_file)] == [1, 2, 2]
    assert run.read_metrics()[1]["loss"] == 0.1 * 2  # every bit of the number is kept


def test_a_torn_row_is_not_read_and_not_continued(folder: Path) -> None:
    run = finished(folder)
    with run.metrics_file.open("a") as file:
        file.write('{"step": 2, "lo')
    run.append_metrics({"step": 3, "loss": 1.0})
    assert [row["step"] for row in run.read_metrics()] == [1, 3]


def test_no_number_is_null(folder: Path) -> None:
    run = finished(folder)
    run.append_metrics({"step": 2, "loss": float("nan"), "grad_norm": float("inf")})
    assert run.read_metrics()[-1] == {"step": 2, "loss": None, "grad_norm": None}
    assert "NaN" not in run.metrics_file.read_text()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_while_appending(folder: Path) -> None:
    run = Run.create(Config(output_dir=str(folder)))
    run.metrics_file.symlink_to("/dev/full")
    with pytest.raises(LuthierError, match=r"the disk is full: .*metrics.jsonl needed \d+ B, .* are free") as caught:
        run.append_metrics({"step": 1, "loss": 1.0})
    assert "save_total_limit" in str(caught.value)


def test_results_are_merged(folder: Path) -> None:
    run = Run.create(Config(output_dir=str(folder)))
    run.write_results("train", {"train_loss": 1.0})
    run.write_results("eval", {"eval_loss": 2.0})
    assert json.loads((folder / "train_results.json").read_text()) == {"train_loss": 1.0}
    assert json.loads((folder / "all_results.json").read_text()) == {"train_loss": 1.0, "eval_loss": 2.0}


# ---- names ------------------------------------------------------------------------------------------------------------


def test_checkpoints_newest_first_without_unfinished_ones(folder: Path) -> None:
    run = Run.create(Config(output_dir=str(folder)))
    for name in ("step-9", "step-10", ".step-11.new", "step-12.tmp", "other"):
        (run.checkpoints_folder / name).mkdir(parents=True)
    (run.checkpoints_folder / "step-13").write_text("a file")
    assert [path.name for path in run.checkpoints()] == ["step-10", "step-9"]


def test_llamafactory_checkpoint_names(tmp_path: Path) -> None:
    assert resolve_checkpoint(tmp_path / "checkpoint-500") == tmp_path / "checkpoints" / "step-500"
    (tmp_path / "checkpoint-7").mkdir()
    assert resolve_checkpoint(tmp_path / "checkpoint-7") == tmp_path / "checkpoint-7"
    assert resolve_checkpoint("hub/name") == Path("hub/name")


def test_runs_are_found_from_anywhere_and_forgotten_when_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = finished(tmp_path / "a" / "one"), finished(tmp_path / "b" / "two", run_name="second")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert [run.folder for run in known_runs()] == [two.folder, one.folder]
    assert find_run(None).folder == two.folder
    assert find_run("one").folder == find_run(str(one.folder)).folder == one.folder
    assert find_run("second").folder == two.folder
    with pytest.raises(LuthierError, match='Did you mean "one"'):
        find_run("onee")
    one.remove()
    assert [run.folder for run in known_runs()] == [two.folder] and not one.folder.exists()


def test_runs_below_saves_are_found_without_being_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = finished(tmp_path / "saves" / "Qwen3" / "lora" / "train_1")
    Pointers("runs").forget(run.folder)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert known_runs() == []
    monkeypatch.chdir(tmp_path)
    assert [each.folder for each in known_runs()] == [run.folder]


def test_remove_takes_run_folders_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = finished(tmp_path / "run")
    (run.folder / "inside").mkdir()
    monkeypatch.chdir(run.folder / "inside")
    with pytest.raises(LuthierError, match="not removed"):
        run.remove()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LuthierError, match="not removed"):
        Run(tmp_path).remove()
    assert run.folder.exists()
