"""Step 2: texts to chunks, and a person's own cuts. A chunk whose words did not change keeps its id, so its rows stay.

The id is a hash of the document's name and the chunk's words. Chunks that are gone are marked stale, never deleted.
"""

from __future__ import annotations

import json
from typing import NamedTuple

from luthier.documents.base import Chunk, digest
from luthier.documents.chunk import make_chunks
from luthier.documents.clean import clean, difference
from luthier.documents.project import Project
from luthier.documents.sentences import estimate_tokens
from luthier.errors import DataError

CHUNKER_VERSION = "1"


class ChunkReport(NamedTuple):
    """documents: cut now.  chunks: current ones of the whole project.  stale: chunks that went out of use now."""

    documents: int
    chunks: int
    stale: int


def chunk_documents(project: Project) -> ChunkReport:
    recipe = project.recipe.chunk
    store = project.store
    cut, stale = 0, 0
    for row in store.all("SELECT * FROM document WHERE state='parsed' ORDER BY name"):
        key = f"{digest(CHUNKER_VERSION, recipe.key())}:{row['text_sha']}"
        if row["chunk_key"] == key:
            continue
        by_hand = store.value("SELECT count(*) FROM chunk WHERE doc=? AND state='current' AND manual=1", row["id"])
        if by_hand and (row["chunk_key"] or "").endswith(row["text_sha"]):
            continue  # a person's cuts stand as long as the text does
        chunks = make_chunks(project.text(row["text_sha"]), recipe.max_chars, recipe.min_chars)
        with store.writing():
            stale += _replace(project, row, chunks)
            store.write("UPDATE document SET chunk_key=? WHERE id=?", key, row["id"])
        cut += 1
    _clean(project)
    count = store.value("SELECT count(*) FROM chunk WHERE state='current'")
    return ChunkReport(cut, int(count), stale)  # type: ignore[arg-type]


def _replace(project: Project, row: object, chunks: list[Chunk]) -> int:
    """Put the chunks of a document in place of the old ones. Returns how many old ones went."""
    store, text = project.store, project.text(row["text_sha"])  # type: ignore[index]
    before = {old["id"] for old in store.all("SELECT id FROM chunk WHERE doc=? AND state='current'", row["id"])}  # type: ignore[index]
    store.write("UPDATE chunk SET state='stale' WHERE doc=?", row["id"])  # type: ignore[index]
    seen: dict[str, int] = {}
    after = set()
    for ordinal, chunk in enumerate(chunks):
        words = shown(text, chunk.start, chunk.end, chunk.prefix)
        seen[words] = seen.get(words, 0) + 1
        id = digest(row["name"], words, str(seen[words]))[:20]  # type: ignore[index]
        after.add(id)
        store.put(
            "chunk",
            id=id,
            doc=row["id"],  # type: ignore[index]
            ordinal=ordinal,
            start=chunk.start,
            end=chunk.end,
            prefix_start=chunk.prefix[0] if chunk.prefix else None,
            prefix_end=chunk.prefix[1] if chunk.prefix else None,
            path=json.dumps(chunk.path, ensure_ascii=False),
            kind=chunk.kind,
            tokens=estimate_tokens(words),
            state="current",
        )
    return len(before - after)


def shown(text: str, start: int, end: int, prefix: tuple[int, int] | None) -> str:
    """The words of a chunk with the prefix before them."""
    body = text[start:end]
    return f"{text[prefix[0] : prefix[1]]}\n{body}" if prefix else body


def chunk_of(row: object) -> Chunk:
    """A row of the store as a Chunk."""
    prefix = (row["prefix_start"], row["prefix_end"]) if row["prefix_start"] is not None else None  # type: ignore[index]
    return Chunk(start=row["start"], end=row["end"], path=tuple(json.loads(row["path"])), prefix=prefix, kind=row["kind"])  # type: ignore[index]


def _clean(project: Project) -> None:
    """The words that a model is shown, where rules change them."""
    rules = project.recipe.clean.rules
    key = project.recipe.clean.key()
    sql = """SELECT chunk.*, document.text_sha FROM chunk JOIN document ON document.id = chunk.doc
             WHERE chunk.state='current' AND clean_key IS NOT ? AND clean_key IS NOT ? ORDER BY doc, start"""
    with project.store.writing():
        for row in project.store.all(sql, key, model_clean_key(project) if project.recipe.clean.model else key):
            chunk = chunk_of(row)
            words = shown(project.text(row["text_sha"]), chunk.start, chunk.end, chunk.prefix)
            cleaned = clean(words, rules)
            kept = cleaned if cleaned != words else None
            project.store.write("UPDATE chunk SET cleaned=?, clean_key=? WHERE id=?", kept, key, row["id"])


def model_clean_key(project: Project) -> str:
    """What chunk.clean_key is where a model cleaned after the rules."""
    return f"{project.recipe.clean.key()}+model"


def cleaning_of(project: Project, chunk_id: str) -> str:
    """What the rules changed in a chunk, as a unified diff; "" for nothing."""
    row = _row(project, chunk_id)
    chunk = chunk_of(row)
    words = shown(project.text(row["text_sha"]), chunk.start, chunk.end, chunk.prefix)
    return difference(words, row["cleaned"] if row["cleaned"] is not None else words)


def split_chunk(project: Project, chunk_id: str, offset: int) -> None:
    """Cut a chunk in two at a character of the document's text. Raises DataError where that is not inside it."""
    row = _row(project, chunk_id)
    if not row["start"] < offset < row["end"]:
        raise DataError(
            f"{offset} is not inside chunk {chunk_id} ({row['start']} to {row['end']}).", "Give a character inside it."
        )
    _by_hand(project, row, {row["id"]}, [(row["start"], offset), (offset, row["end"])])


def merge_chunks(project: Project, first_id: str, second_id: str) -> None:
    """Make one chunk of two neighbours. Raises DataError where another one lies between them."""
    first, second = sorted((_row(project, first_id), _row(project, second_id)), key=lambda row: row["start"])
    between = project.store.value(
        "SELECT count(*) FROM chunk WHERE doc=? AND state='current' AND start>=? AND end<=? AND id NOT IN (?,?)",
        *(first["doc"], first["end"], second["start"], first["id"], second["id"]),
    )
    if first["doc"] != second["doc"] or between:
        raise DataError(f"chunks {first_id} and {second_id} are no neighbours.", "Merge chunks that follow one another.")
    _by_hand(project, first, {first["id"], second["id"]}, [(first["start"], second["end"])])


def _by_hand(project: Project, row: object, gone: set[str], spans: list[tuple[int, int]]) -> None:
    text = project.text(row["text_sha"])  # type: ignore[index]
    others = project.store.all("SELECT * FROM chunk WHERE doc=? AND state='current' ORDER BY start", row["doc"])  # type: ignore[index]
    chunks = [chunk_of(other) for other in others if other["id"] not in gone]
    path = tuple(json.loads(row["path"]))  # type: ignore[index]
    for start, end in spans:
        while start < end and text[start].isspace():
            start += 1
        while end > start and text[end - 1].isspace():
            end -= 1
        if end > start:
            chunks.append(Chunk(start=start, end=end, path=path, kind=row["kind"]))  # type: ignore[index]
    document = project.store.one("SELECT * FROM document WHERE id=?", row["doc"])  # type: ignore[index]
    with project.store.writing():
        _replace(project, document, sorted(chunks, key=lambda chunk: chunk.start))
        marks = ", ".join("?" * len(spans))
        starts = [start for start, _ in spans]
        project.store.write(
            f"UPDATE chunk SET manual=1 WHERE doc=? AND state='current' AND start IN ({marks})", document["id"], *starts
        )  # type: ignore[index]
    _clean(project)


def _row(project: Project, chunk_id: str) -> object:
    rows = project.store.all(
        """SELECT chunk.*, document.text_sha FROM chunk JOIN document ON document.id=chunk.doc
           WHERE chunk.state='current' AND chunk.id LIKE ?""",
        f"{chunk_id}%",
    )
    if len(rows) != 1:
        what = "no chunk" if not rows else "more than one chunk"
        raise DataError(f'{what} begins with "{chunk_id}".', "luthier documents chunk NAME --list shows them.")
    return rows[0]
