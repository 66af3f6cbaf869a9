"""Steps 4 and 5 without a model: the pairs of extract.py for each chunk, with their evidence."""

from __future__ import annotations

import json
from collections.abc import Sequence

from luthier.documents.base import Pair, digest
from luthier.documents.extract import extract_pairs
from luthier.documents.project import Project
from luthier.documents.steps.chunk import chunk_of

EXTRACT_VERSION = "1"


def extract_key(project: Project) -> str:
    """The hash of everything but the chunk that decides what is extracted."""
    ask = project.recipe.ask
    return digest("extract", EXTRACT_VERSION, str(ask.max_per_chunk), project.recipe.language)[:16]


def extract_rows(project: Project) -> int:
    """Make the rows of chunks that have none under this recipe. Returns how many rows are new."""
    store, key = project.store, extract_key(project)
    limit = project.recipe.ask.max_per_chunk
    added = 0
    for document in store.all("SELECT * FROM document WHERE state='parsed' ORDER BY name"):
        rows = store.all("SELECT * FROM chunk WHERE doc=? AND state='current' ORDER BY start", document["id"])
        units = {row["id"]: digest("extract", row["id"], key) for row in rows}
        done = {row["id"] for row in store.all("SELECT id FROM unit WHERE stage='extract' AND recipe=? AND state='done'", key)}
        if all(unit in done for unit in units.values()):
            continue
        text = project.text(document["text_sha"])
        found = extract_pairs(text, [chunk_of(row) for row in rows], document["language"], document["title"] or "", limit)
        for row, pairs in zip(rows, found):
            with store.writing():
                added += keep_pairs(project, row["id"], key, pairs, units[row["id"]])
    return added


def keep_pairs(project: Project, chunk: str, key: str, pairs: Sequence[Pair], unit: str) -> int:
    """Store the pairs of one chunk and that it is done. Returns how many were not there."""
    store, added = project.store, 0
    for ordinal, pair in enumerate(pairs):
        question = digest(chunk, key, pair.question)[:20]
        answer = digest(question, key)[:20]
        added += store.one("SELECT 1 FROM answer WHERE id=?", answer) is None
        store.put(
            "question",
            id=question,
            chunk=chunk,
            ordinal=ordinal,
            text=pair.question,
            type=pair.type,
            origin="extract",
            recipe=key,
        )
        turns = json.dumps(pair.extra["turns"], ensure_ascii=False) if pair.extra.get("turns") else None
        store.put("answer", id=answer, question=question, text=pair.answer, turns=turns, origin="extract", recipe=key)
        store.write("DELETE FROM evidence WHERE answer=?", answer)
        for number, proof in enumerate(pair.evidence):
            store.put(
                "evidence",
                answer=answer,
                ordinal=number,
                quote=proof.quote,
                start=proof.start,
                end=proof.end,
                match=proof.match,
            )
    store.put("unit", id=unit, stage="extract", subject=chunk, recipe=key, state="done")
    return added
