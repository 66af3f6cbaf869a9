"""Step 1: files to texts. A file that cannot be read is said by name; the others go on."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import NamedTuple

from luthier.documents.base import Parsed, digest
from luthier.documents.project import Project
from luthier.documents.readers.sandbox import Sandbox
from luthier.documents.sentences import language_of
from luthier.errors import DataError

READERS_VERSION = "2"
GRACE_S = 10.0
"""For the reader to say itself that a server was too slow."""


class ParseReport(NamedTuple):
    """read: names of documents read now.  kept: how many were up to date.  problems: (name, message) of those that failed."""

    read: list[str]
    kept: int
    problems: list[tuple[str, str]]


def parse_documents(project: Project, tell: Callable[[int, int, str], None] | None = None) -> ParseReport:
    """tell: called with (done, total, name) before each file."""
    recipe = project.recipe
    key = digest(READERS_VERSION, recipe.parse.key(), recipe.language, "chat" if recipe.ask.kind == "chat" else "")
    rows = project.store.all("SELECT * FROM document ORDER BY name")
    waiting = [row for row in rows if row["parse_key"] != digest(key, row["sha256"]) or row["state"] == "new"]
    read, problems = [], []
    options = {
        "wanted": "chat" if recipe.ask.kind == "chat" else "",
        "max_pages": recipe.parse.max_pages,
        "repair": recipe.parse.repair,
        "mineru_url": recipe.parse.mineru_url,
        "mineru_timeout_s": recipe.parse.mineru_timeout_s,
    }
    longest = max(recipe.parse.timeout_s, recipe.parse.mineru_timeout_s + GRACE_S) if recipe.parse.mineru_url else None
    with Sandbox(recipe.parse.timeout_s, recipe.parse.memory_mb) as sandbox:
        for done, row in enumerate(waiting):
            if tell:
                tell(done, len(waiting), row["name"])
            try:
                waits = longest if row["name"].lower().endswith(".pdf") else None
                parsed = sandbox.read(project.source(row), row["name"], options, waits)
            except DataError as error:
                problems.append((row["name"], str(error)))
                _fail(project, row["id"], digest(key, row["sha256"]), str(error))
                continue
            _keep(project, row["id"], digest(key, row["sha256"]), parsed, recipe.language)
            read.append(row["name"])
    return ParseReport(read, len(rows) - len(waiting), problems)


def _keep(project: Project, id: str, key: str, parsed: Parsed, language: str) -> None:
    sha = project.keep_text(parsed.text)
    store = project.store
    before = store.one("SELECT text_sha, state, chunk_key FROM document WHERE id=?", id)
    is_same = before is not None and before["text_sha"] == sha and before["state"] != "failed"
    with store.writing():
        store.write("DELETE FROM page WHERE doc=?", id)
        for start, page in dict(parsed.pages).items():
            store.put("page", doc=id, start=start, page=page)
        values = {
            "state": "parsed",
            "problem": None,
            "parse_key": key,
            "chunk_key": before["chunk_key"] if is_same else None,
            "kind": parsed.kind,
            "parser": parsed.parser,
            "parser_version": parsed.version,
            "text_sha": sha,
            "num_chars": len(parsed.text),
            "num_pages": parsed.num_pages,
            "title": parsed.title,
            "language": language if language != "auto" else language_of(parsed.text),
            "notes": json.dumps(parsed.notes, ensure_ascii=False),
        }
        store.write(f"UPDATE document SET {', '.join(f'{name}=?' for name in values)} WHERE id=?", *values.values(), id)


def _fail(project: Project, id: str, key: str, problem: str) -> None:
    with project.store.writing():
        project.store.write("UPDATE document SET state='failed', problem=?, parse_key=? WHERE id=?", problem, key, id)
        project.store.write("UPDATE chunk SET state='stale' WHERE doc=?", id)
