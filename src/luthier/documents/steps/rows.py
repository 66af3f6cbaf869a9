"""Which rows are current, and how they are read: a question, its answer, its chunk and its document as one record."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from luthier.documents.project import Project
from luthier.documents.steps.extract import extract_key

COLUMNS = """answer.id AS id, answer.text AS answer, answer.thinking, answer.thinking_origin, answer.turns, answer.origin,
  answer.model, answer.finish_reason, answer.decision, answer.dup_of, answer.dup_kind, answer.call, question.id AS question_id,
  question.text AS question, question.type, question.difficulty, question.persona, question.held_out, question.ordinal AS
  ordinal, chunk.id AS chunk, chunk.start, chunk.end, chunk.path, chunk.split, chunk.prefix_start, chunk.prefix_end,
  chunk.kind AS chunk_kind, document.id AS doc, document.name AS document, document.text_sha, document.language,
  document.sha256, document.title, document.parser, document.parser_version"""
TABLES = """FROM answer JOIN question ON question.id = answer.question JOIN chunk ON chunk.id = question.chunk
  JOIN document ON document.id = chunk.doc
  WHERE answer.state='current' AND question.state='current' AND chunk.state='current' AND document.state='parsed'"""
ROWS = f"SELECT {COLUMNS} {TABLES}"
ORDER = " ORDER BY document.name, chunk.start, question.ordinal, answer.id"


def activate(project: Project, question_recipe: str, answer_recipe: str) -> None:
    """Make what was made under these recipes current, and everything else old; what a person wrote is always current."""
    store = project.store
    with store.writing():
        for table, recipe in (("question", question_recipe), ("answer", answer_recipe)):
            store.write(f"UPDATE {table} SET state='current' WHERE recipe IN (?, 'person') AND state<>'current'", recipe)
            store.write(f"UPDATE {table} SET state='old' WHERE recipe NOT IN (?, 'person') AND state<>'old'", recipe)


def activate_extracted(project: Project) -> None:
    key = extract_key(project)
    activate(project, key, key)


def current_rows(project: Project, more: str = "", *values: object) -> Iterator[Any]:
    """The current rows in the order of the documents. more: a further condition that begins with AND."""
    return project.store.each(ROWS + more + ORDER, *values)
