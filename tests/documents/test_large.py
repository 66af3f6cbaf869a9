"""300,000 rows are exported, proved and registered in less than 200 MB."""

import json
import subprocess
import sys

import pytest

from luthier.documents.project import Project, add_files
from luthier.workflows import documents

ROWS = 300_000
EXPORT = """
import json, sys
from pathlib import Path
from luthier.documents.project import Project
from luthier.workflows import documents
with Project.open(Path(sys.argv[1])) as project:
    exported = documents.export(project)
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps({"counts": exported.counts, "mb": int(peak.split()[1]) / 1024}))
"""


@pytest.mark.slow
@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="/proc tells the peak of a process alone; ru_maxrss counts its parent in"
)
def test_a_large_export_needs_little_memory(tmp_path):
    source = tmp_path / "book.md"
    source.write_text("\n\n".join(f"# Part {n}\n\nThe part number {n} is described in these words." for n in range(300)))
    with Project.create(
        tmp_path / "large", "chunk: {max_chars: 80, min_chars: 0}\nsplit: {val: 0.05, test: 0.05}\n"
    ) as project:
        add_files(project, [source])
        documents.run(project, lambda line: None)
        chunks = [row["id"] for row in project.store.all("SELECT id FROM chunk WHERE state='current'")]
        recipe = project.store.value("SELECT recipe FROM question LIMIT 1")
        with project.store.writing() as db:
            every = range(ROWS)
            asked = (
                (f"q{n}", chunks[n % len(chunks)], n, f"What is {n * 7919 % 1000003:x} {n:o} made of?", recipe) for n in every
            )
            db.executemany(
                "INSERT INTO question (id, chunk, ordinal, text, type, origin, recipe) VALUES (?,?,?,?,'fact','extract',?)",
                asked,
            )
            said = ((f"a{n}", f"q{n}", f"{n * 104729 % 1000003:x} " * 20 + f"{n:o}", recipe) for n in every)
            db.executemany("INSERT INTO answer (id, question, text, origin, recipe) VALUES (?,?,?,'extract',?)", said)
    done = subprocess.run([sys.executable, "-c", EXPORT, str(tmp_path / "large")], capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert sum(found["counts"].values()) >= ROWS
    assert found["mb"] < 200
