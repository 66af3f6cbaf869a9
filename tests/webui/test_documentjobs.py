"""Work on a documents project: a process of its own with a true record, that any page may read, pause, and start again."""

import json
import time
from pathlib import Path

import psutil
import pytest

from luthier.documents.project import Project, add_files
from luthier.errors import DataError
from luthier.webui import documentjobs, documentwork
from tests.documents.fake_server import FakeServer, Fault
from tests.documents.test_jobs import make

BOOK = "# Pump\n\n## How to start the pump\n\nPress the green button.\n\n## How to stop the pump\n\nPress the red button.\n"


def project_of(folder: Path) -> Path:
    source = folder / "pump.md"
    source.write_text(BOOK)
    with Project.create(folder / "pump", "split: {val: 0, test: 0}\n") as project:
        add_files(project, [source])
        return project.folder


def do(folder: Path, verb: str, **options) -> dict:
    """The verb in this process, and its record."""
    with Project.open(folder) as project:
        documentjobs.write(project, {"verb": verb, "options": options, "state": "starting", "began": time.time()})
    documentwork.main(folder)
    with Project.open(folder) as project:
        return documentjobs.work_of(project)


def test_a_process_of_its_own_ends_with_a_true_record(tmp_path):
    folder = project_of(tmp_path)
    documentjobs.start(folder, "rows")
    with pytest.raises(DataError, match="at work"):
        documentjobs.start(folder, "rows")
    until = time.monotonic() + 60
    with Project.open(folder) as project:
        while (work := documentjobs.work_of(project))["state"] in documentjobs.BUSY and time.monotonic() < until:
            time.sleep(0.1)
        assert work["state"] == "finished", (folder / documentjobs.LOG).read_text()
        found = documentjobs.progress_of(project)
    assert found["documents"] == {"parsed": 1} and found["chunks"] and found["rows"] >= 2 and found["spent"] == {}


def test_verbs_say_what_they_made_and_why_they_failed(tmp_path):
    folder = project_of(tmp_path)
    assert do(folder, "read")["state"] == "finished"
    failed = do(folder, "export", dataset_dir=str(tmp_path / "data"))
    assert failed["state"] == "failed" and "no row to train on" in failed["message"] and failed["remedy"]
    assert do(folder, "rows")["state"] == "finished"
    result = do(folder, "export", dataset_dir=str(tmp_path / "data"))["result"]
    assert (result["version"], result["name"], result["is_new"]) == ("v1", "pump", True) and result["counts"]["train"] >= 2
    assert "pump" in json.loads((tmp_path / "data" / "dataset_info.json").read_text())


def test_a_pause_ends_the_work_at_the_next_stage_and_it_goes_on_from_there(tmp_path, monkeypatch):
    with FakeServer() as server:
        folder = make(tmp_path, server).folder

        def pause_after_reading(self, text, line=documentwork.Note.line):
            documentjobs.pause(folder)
            line(self, text)

        with monkeypatch.context() as patch:
            patch.setattr(documentwork.Note, "line", pause_after_reading)
            assert do(folder, "rows")["state"] == "paused"
        assert server.total == 0
        assert do(folder, "rows")["state"] == "finished" and server.total == 24
        assert do(folder, "pilot")["result"][0]["left"] == 0


def test_what_the_endpoint_refuses_is_a_pause_with_its_reason(tmp_path):
    with FakeServer(lambda *_: Fault(402, body=b"{}")) as server:
        folder = make(tmp_path, server).folder
        work = do(folder, "rows")
        assert work["state"] == "paused" and "no credit left" in work["message"]
        with Project.open(folder) as project:
            assert documentjobs.progress_of(project)["jobs"][0]["state"] == "paused"


def test_a_process_that_is_gone_is_called_so(tmp_path):
    folder = project_of(tmp_path)
    with Project.open(folder) as project:
        record = {"verb": "rows", "options": {}, "state": "running", "began": 0.0, "pid": 2**22 - 3, "pid_started": 1.0}
        documentjobs.write(project, record)
        assert documentjobs.work_of(project)["state"] == "died"
        documentjobs.write(project, record | {"pid": psutil.Process().pid, "pid_started": psutil.Process().create_time()})
        assert documentjobs.work_of(project)["state"] == "running"
