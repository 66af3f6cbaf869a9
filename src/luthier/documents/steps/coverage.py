"""Which parts of the documents have rows that will be exported, and which have none."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import NamedTuple

from luthier.documents.project import Project

EXPORTED = """answer.state='current' AND question.state='current' AND answer.dup_of IS NULL AND
    coalesce(answer.decision,'')<>'rejected' AND (answer.decision='accepted' OR NOT EXISTS (SELECT 1 FROM flag WHERE
    flag.answer=answer.id AND flag.blocks=1))"""
"""What makes a row good enough: current, no duplicate, not rejected, and without a flag that blocks unless a person accepted
it."""


class Part(NamedTuple):
    """One section of a document. rows: good ones.  proved: characters that some row quotes."""

    document: str
    section: str
    chunks: int
    chunks_with_rows: int
    chars: int
    proved: int
    rows: int


def coverage(project: Project) -> list[Part]:
    """A line for each section (two levels of headings) of each document, in their order."""
    store = project.store
    spans: dict[str, list[tuple[int, int]]] = defaultdict(list)
    rows: dict[str, int] = defaultdict(int)
    sql = f"""SELECT question.chunk AS chunk, answer.id AS id FROM answer JOIN question ON question.id=answer.question WHERE
        {EXPORTED}"""
    for row in store.each(sql):
        rows[row["chunk"]] += 1
    sql = f"""SELECT question.chunk AS chunk, evidence.start, evidence.end FROM evidence JOIN answer ON
        answer.id=evidence.answer JOIN question ON question.id=answer.question WHERE {EXPORTED} AND evidence.match<>'none'"""
    for row in store.each(sql):
        spans[row["chunk"]].append((row["start"], row["end"]))
    parts: dict[tuple[str, str], list[int]] = {}
    sql = """SELECT chunk.*, document.name FROM chunk JOIN document ON document.id=chunk.doc WHERE chunk.state='current'
             AND document.state='parsed' ORDER BY document.name, chunk.start"""
    for row in store.each(sql):
        key = (row["name"], " > ".join(json.loads(row["path"])[:2]))
        part = parts.setdefault(key, [0, 0, 0, 0, 0])
        part[0] += 1
        part[1] += rows[row["id"]] > 0
        part[2] += row["end"] - row["start"]
        part[3] += _union(spans[row["id"]], row["start"], row["end"])
        part[4] += rows[row["id"]]
    return [Part(*key, *values) for key, values in parts.items()]


def _union(spans: list[tuple[int, int]], start: int, end: int) -> int:
    """How many characters of [start, end) the spans cover together."""
    covered, at = 0, start
    for left, right in sorted(spans):
        left, right = max(left, at), min(right, end)
        if right > left:
            covered += right - left
            at = right
    return covered
