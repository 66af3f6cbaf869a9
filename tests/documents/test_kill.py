"""kill -9 in the middle of a job: the rows are those of an undisturbed run, and only calls that were in the air are made
again."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from luthier.documents.project import Project, add_files

from .fake_server import FakeServer

CONCURRENCY = 4
RECIPE = """
chunk: {{max_chars: 200, min_chars: 0}}
split: {{val: 0, test: 0}}
ask: {{generator: model, per_1000_chars: 1, max_per_chunk: 1, unanswerable: 0}}
judge: {{enabled: false}}
budget: {{pilot: 0}}
endpoint: {{base_url: "{url}", model: fake, concurrency: 4, timeout_s: 10}}
"""
TABLES = ("question", "answer", "evidence")


def make_project(folder: Path, url: str, sections: int) -> Path:
    source = folder / "book.md"
    source.write_text(
        "\n\n".join(f"# Part {n}\n\nThe part number {n} has {n * 7} screws and weighs {n * 3} grams." for n in range(sections))
    )
    with Project.create(folder / "book", RECIPE.format(url=url)) as project:
        add_files(project, [source])
    return folder / "book"


def start(project: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "luthier", "documents", "run", str(project), "--yes", "-q"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def rows_of(folder: Path) -> dict[str, list[tuple]]:
    with Project.open(folder) as project:
        return {table: sorted(tuple(row) for row in project.store.all(f"SELECT * FROM {table}")) for table in TABLES}


def disturbed(tmp_path: Path, sections: int, kills: int) -> None:
    rng = random.Random(kills)
    (tmp_path / "calm").mkdir()
    (tmp_path / "wild").mkdir()
    with FakeServer(delay_s=0.01) as server:
        calm = make_project(tmp_path / "calm", server.url, sections)
        process = start(calm)
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        assert server.total == 2 * sections  # a question and an answer each
    with FakeServer(delay_s=0.05) as server:
        wild = make_project(tmp_path / "wild", server.url, sections)
        killed_at = []
        for _ in range(kills):
            process = start(wild)
            goal = server.total + rng.randint(1, max(2, 2 * sections // (kills + 2)))
            while server.total < goal and process.poll() is None:
                time.sleep(0.002)
            os.kill(process.pid, signal.SIGKILL)
            killed_at.append(time.monotonic())
            process.communicate(timeout=30)
        process = start(wild)
        _, errors = process.communicate(timeout=200)
        assert process.returncode == 0, errors
        repeated = {key: count for key, count in server.requests.items() if count > 1}
        assert len(server.requests) == 2 * sections
        assert sum(repeated.values()) - len(repeated) <= kills * CONCURRENCY
        for key in repeated:  # each earlier start of a repeated call was shortly before a kill
            for began in server.starts[key][:-1]:
                assert any(began <= at + 0.05 and at - began < 1.0 for at in killed_at)
    calm_rows, wild_rows = rows_of(calm), rows_of(wild)
    assert len(calm_rows["answer"]) == sections
    # the id of a call is a hash of the address too, and the two servers have different ports
    assert without_calls(calm_rows) == without_calls(wild_rows)


def without_calls(tables: dict[str, list[tuple]]) -> dict[str, list[tuple]]:
    calls = 10  # answer.call
    return tables | {"answer": [row[:calls] + row[calls + 1 :] for row in tables["answer"]]}


def test_three_kills(tmp_path):
    disturbed(tmp_path, sections=30, kills=3)


@pytest.mark.slow
def test_fifty_kills_of_five_hundred_units(tmp_path):
    disturbed(tmp_path, sections=500, kills=50)
