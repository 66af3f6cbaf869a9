"""Step 3: each chunk to train, val or test, before anything is asked about it."""

from __future__ import annotations

import json
from collections import Counter

from luthier.documents.project import Project
from luthier.documents.split import Piece, assign


def split_chunks(project: Project) -> Counter[str]:
    """Characters by split. Groups that have a place keep it, unless split.* or the seed of the recipe changed."""
    store, recipe = project.store, project.recipe
    sql = """SELECT chunk.*, document.name, document.text_sha FROM chunk JOIN document ON document.id = chunk.doc
             WHERE chunk.state='current' ORDER BY document.name, chunk.start"""
    rows = store.all(sql)
    pieces = [
        Piece(row["id"], row["name"], _section(row["path"]), project.text(row["text_sha"])[row["start"] : row["end"]])
        for row in rows
    ]
    shares = recipe.split
    known = {row["grp"]: row["split"] for row in rows if row["grp"] and row["split"]}
    marker = f"{shares.key()}-{recipe.seed}"
    if store.value("SELECT value FROM setting WHERE key='split'") != marker:
        known = {}
    assigned = assign(pieces, shares.by, shares.val, shares.test, recipe.seed, known)
    with store.writing():
        for piece, (group, split) in zip(pieces, assigned):
            store.write("UPDATE chunk SET grp=?, split=? WHERE id=?", group, split, piece.id)
        store.put("setting", key="split", value=marker)
    sizes: Counter[str] = Counter()
    for piece, (_, split) in zip(pieces, assigned):
        sizes[split] += len(piece.text)
    return sizes


def require_split(project: Project) -> None:
    """Assign chunks that have no split yet: nothing is asked about them, and nothing is exported, before that."""
    if project.store.value("SELECT count(*) FROM chunk WHERE state='current' AND split IS NULL"):
        split_chunks(project)


def _section(path: str) -> str:
    """The two outermost headings: the first is often the title of the book."""
    return "\x1f".join(json.loads(path)[:2])
