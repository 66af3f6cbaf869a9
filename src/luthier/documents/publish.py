"""Rows of the store to samples and their provenance; which rows are good enough, and why the others are not.

Enters: an open project. Leaves: (Sample, provenance), one by one; a table of what was left out. Writes no file and knows no
dataset format: workflows/documents.py does that.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from luthier.documents.base import digest
from luthier.documents.clean import as_answer
from luthier.documents.project import Project
from luthier.documents.recipe import ExportPart
from luthier.documents.steps.coverage import EXPORTED
from luthier.documents.steps.rows import COLUMNS, ORDER, TABLES
from luthier.types import Conversation, Message, Origin, Preference, Sample, Text

SPLITS = ("train", "val", "test", "known")
"""known: questions about texts of train that no training row asks (ask.held_out)."""
PROOF = """(SELECT json_group_array(json_array(start, end, match)) FROM (SELECT * FROM evidence WHERE
  evidence.answer=answer.id ORDER BY ordinal)) AS quotes,
  (SELECT json_group_object(axis, score) FROM verdict WHERE verdict.answer=answer.id) AS verdicts,
  (SELECT json_group_array(code) FROM (SELECT code FROM flag WHERE flag.answer=answer.id ORDER BY code)) AS flags,
  (SELECT count(*) FROM edit WHERE edit.answer=answer.id) AS edits"""
"""What provenance tells beside a row's own columns, in the same statement: a query of its own for each row is slow."""
WORSE = "(SELECT text FROM rejected WHERE rejected.answer=answer.id ORDER BY origin) AS worse"
WANTS: Mapping[str, type[Sample]] = {"preference": Preference, "text": Text}


def wants_of(export: ExportPart) -> type[Sample]:
    return WANTS.get(export.format, Conversation)


def split_of(row: Any) -> str:
    return "known" if row["held_out"] and row["split"] == "train" else row["split"] or "train"


def exported_rows(
    project: Project, export: ExportPart, split: str | None = None, columns: str = COLUMNS, order: str = ORDER
) -> Iterator[Any]:
    """The rows that an export has, in the order of the documents; those of one split where it is given."""
    reviewed = " AND answer.decision='accepted'" if export.reviewed_only else ""
    rejected = " AND EXISTS (SELECT 1 FROM rejected WHERE rejected.answer=answer.id)" if export.format == "preference" else ""
    more, values = "", []
    if split:
        more = " AND coalesce(chunk.split, 'train')=? AND (question.held_out=1 AND chunk.split='train')=?"
        values = ["train" if split == "known" else split, int(split == "known")]
    return project.store.each(f"SELECT {columns} {TABLES} AND {EXPORTED}{reviewed}{rejected}{more}{order}", *values)


def leak_rows(project: Project, export: ExportPart) -> Iterator[tuple[str, str, str, str]]:
    """(id, split, question, answer) of exported rows, for leaks.py."""
    columns = "answer.id AS id, question.text AS question, answer.text AS answer, question.held_out, chunk.split"
    for row in exported_rows(project, export, columns=columns, order=""):
        yield row["id"], split_of(row), row["question"], row["answer"]


def samples(project: Project, export: ExportPart, split: str) -> Iterator[tuple[Sample, dict[str, Any]]]:
    """The samples of one split with the provenance of each."""
    if export.format == "text":
        yield from _texts(project, split)
        return
    pages = _Pages(project)
    columns = f"{COLUMNS}, {PROOF}" + (f", {WORSE}" if export.format == "preference" else "")
    for number, row in enumerate(exported_rows(project, export, split, columns), start=1):
        origin = Origin(dataset=project.name, file=f"{split}.jsonl", row=number)
        yield _sample(row, export, origin), _provenance(row, pages, split, number)


def _sample(row: Any, export: ExportPart, origin: Origin) -> Sample:
    messages = [Message(role="system", content=export.system)] if export.system else []
    keeps = export.reasoning != "none" and row["thinking"]
    answer = Message(role="assistant", content=row["answer"], thinking=row["thinking"] if keeps else None)
    if export.format == "preference":
        prompt = Conversation(messages=(*messages, Message(role="user", content=row["question"])), origin=origin)
        return Preference(prompt=prompt, chosen=answer, rejected=Message(role="assistant", content=row["worse"]), origin=origin)
    if row["turns"]:
        messages += [Message(role=turn["role"], content=turn["content"]) for turn in orjson.loads(row["turns"])]
    else:
        messages += [Message(role="user", content=row["question"]), answer]
    return Conversation(messages=tuple(messages), origin=origin)


def _texts(project: Project, split: str) -> Iterator[tuple[Text, dict[str, Any]]]:
    """The chunks themselves, for pre-training."""
    sql = """SELECT chunk.*, document.name AS document, document.sha256, document.text_sha, document.title FROM chunk
             JOIN document ON document.id=chunk.doc WHERE chunk.state='current' AND document.state='parsed' AND chunk.split=?
             ORDER BY document.name, chunk.start"""
    pages = _Pages(project)
    for number, row in enumerate(project.store.each(sql, split), start=1):
        text = as_answer(project.text(row["text_sha"])[row["start"] : row["end"]])
        if text:
            origin = Origin(dataset=project.name, file=f"{split}.jsonl", row=number)
            where = {"split": split, "row": number, "id": row["id"], **_where(row, pages, row["start"], row["end"])}
            yield Text(text=text, origin=origin), where


class _Pages:
    """Page numbers of documents; the last document is kept at hand."""

    def __init__(self, project: Project):
        self.project, self.doc, self.starts, self.numbers = project, "", [], []

    def of(self, doc: str, offset: int) -> int | None:
        if doc != self.doc:
            found = self.project.store.all("SELECT start, page FROM page WHERE doc=? ORDER BY start", doc)
            self.doc, self.starts, self.numbers = doc, [row["start"] for row in found], [row["page"] for row in found]
        return self.numbers[max(0, bisect_right(self.starts, offset) - 1)] if self.numbers else None


def _where(row: Any, pages: _Pages, start: int, end: int) -> dict[str, Any]:
    place = {
        "document": row["document"],
        "sha256": row["sha256"],
        "text": row["text_sha"],
        "section": orjson.loads(row["path"]),
    }
    return place | {"start": start, "end": end, "page": pages.of(row["doc"], start)}


def _provenance(row: Any, pages: _Pages, split: str, number: int) -> dict[str, Any]:
    quotes = [
        {"start": start, "end": end, "page": pages.of(row["doc"], start), "match": match}
        for start, end, match in orjson.loads(row["quotes"])
    ]
    return {
        "split": split,
        "row": number,
        "id": row["id"],
        **_where(row, pages, row["start"], row["end"]),
        "quotes": quotes,
        "type": row["type"],
        "difficulty": row["difficulty"],
        "origin": row["origin"],
        "model": row["model"],
        "thinking": row["thinking_origin"],
        "parser": f"{row['parser']} {row['parser_version']}",
        "verdicts": orjson.loads(row["verdicts"]),
        "flags": orjson.loads(row["flags"]),
        "decision": row["decision"],
        "edits": row["edits"],
    }


def left_out(project: Project) -> dict[str, int]:
    """Why current rows are not exported: reason -> rows. A row may have several reasons."""
    store = project.store
    base = """FROM answer JOIN question ON question.id=answer.question JOIN chunk ON chunk.id=question.chunk
              WHERE answer.state='current' AND question.state='current' AND chunk.state='current'"""
    reasons = {row[0]: row[1] for row in store.all(
        f"""SELECT code, count(*) FROM flag WHERE blocks=1
            AND answer IN (SELECT answer.id {base} AND coalesce(decision,'')<>'accepted') GROUP BY code"""
    )}  # fmt: skip
    for kind in ("exact", "near"):
        reasons[f"{kind} duplicate"] = int(store.value(f"SELECT count(*) {base} AND dup_kind=?", kind))  # type: ignore[arg-type]
    reasons["rejected by a person"] = int(store.value(f"SELECT count(*) {base} AND decision='rejected'"))  # type: ignore[arg-type]
    return {reason: count for reason, count in reasons.items() if count}


def rows_hash(project: Project, export: ExportPart) -> str:
    """Equal for two exports that would write the same rows in the same format."""
    parts = [export.key()]
    if export.format == "text":
        parts += [
            f"{row['id']}{row['split']}"
            for row in project.store.each("SELECT id, split FROM chunk WHERE state='current' ORDER BY id")
        ]
        return digest(*parts)
    state = digest(*parts)
    for row in exported_rows(project, export):
        state = digest(
            state, row["id"], split_of(row), row["question"], row["answer"], row["thinking"] or "", row["turns"] or ""
        )
    return state
