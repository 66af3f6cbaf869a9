"""luthier runs: what it says about runs, without starting any."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from luthier.config import Config
from luthier.runs import Run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Run.create(Config(output_dir=str(tmp_path / "deep" / "identity"), model_name_or_path="some/Qwen3-8B", stage="sft"))
    run.start()
    run.append_metrics({"step": 3, "total_steps": 10, "loss": 0.12346})
    run.log_file.write_text("one\ntwo\nthree\n")
    run.update_status(state="finished")
    return run


def test_list(luthier, run: Run) -> None:
    head, row = luthier("runs", "list").stdout.splitlines()
    assert head.split() == ["NAME", "STATE", "STAGE", "MODEL", "STEP", "LOSS", "TIME", "FOLDER"]
    assert row.split() == ["identity", "finished", "sft", "Qwen3-8B", "3/10", "0.1235", "0:00", "deep/identity"]
    assert luthier("runs").stdout == luthier("runs", "list").stdout
    (listed,) = json.loads(luthier("runs", "list", "--json", cwd=Path("/")).stdout)
    assert listed["folder"] == str(run.folder) and listed["loss"] == 0.12346


def test_no_runs(luthier) -> None:
    assert "No runs yet" in luthier("runs").stdout
    missing = luthier("runs", "show")
    assert missing.returncode == 2 and "there is no run yet" in missing.stderr


def test_names(luthier, run: Run) -> None:
    for words in ((), ("identity",), (run.folder,)):
        assert str(run.folder) in luthier("runs", "show", *words).stdout
    wrong = luthier("runs", "show", "identitty")
    assert wrong.returncode == 2 and 'Did you mean "identity"?' in wrong.stderr


def test_show_repeats_the_reading_of_the_curve(luthier, run: Run) -> None:
    run.curve_reading.write_text("# What the loss curve says\n\n## converged\n")
    assert "## converged" in luthier("runs", "show").stdout


def test_logs(luthier, run: Run) -> None:
    assert luthier("runs", "logs").stdout == "one\ntwo\nthree\n"
    assert luthier("runs", "logs", "-n", 1).stdout == "three\n"
    followed = luthier("runs", "logs", "-f", "-n", 0)
    assert followed.stdout == "" and "finished" in followed.stderr


def test_nothing_to_stop_or_to_resume(luthier, run: Run) -> None:
    stop = luthier("runs", "stop", "identity")
    assert stop.returncode == 2 and "is not running: it is finished" in stop.stderr
    resume = luthier("runs", "resume", "identity")
    assert resume.returncode == 2 and "num_train_epochs" in resume.stderr


def test_rm_refuses_what_is_no_run(luthier, run: Run, tmp_path: Path) -> None:
    done = luthier("runs", "rm", tmp_path / "deep", "--yes")
    assert done.returncode == 2 and run.folder.exists()


def test_rm_refuses_a_running_run(luthier, tmp_path: Path) -> None:
    code = "import sys, time; from luthier.config import Config; from luthier.runs import Run\n"
    code += "Run.create(Config(output_dir=sys.argv[1])).start(); print(1, flush=True); time.sleep(60)"
    job = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "busy")], stdout=subprocess.PIPE)
    try:
        assert job.stdout is not None and job.stdout.readline()
        done = luthier("runs", "rm", "busy", "--yes")
        assert done.returncode == 2 and "is running" in done.stderr and (tmp_path / "busy").exists()
    finally:
        job.kill()
        job.wait()


def test_wrong_arguments(luthier) -> None:
    assert luthier("runs", "stopp").returncode == 2
    assert luthier("runs", "list", "--jsno").returncode == 2
