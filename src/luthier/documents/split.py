"""Train, val or test: decided for whole documents (or whole sections) before a question is asked, with a fixed seed.

Enters: chunks with their document, section and text. Leaves: a group and a split for each. Chunks that are nearly equal fall
into one group wherever they stand, so that no text is on both sides. A group that has a place keeps it when documents are
added.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from luthier.documents.base import digest
from luthier.documents.dedup import groups, near_pairs

FEW_DOCUMENTS = 20
NEAR = 0.7


class Piece(NamedTuple):
    """What is assigned. section: the outermost headings that name its part of the document."""

    id: str
    doc: str
    section: str
    text: str


def assign(
    pieces: Sequence[Piece], by: str, val: float, test: float, seed: int, known: Mapping[str, str] | None = None
) -> list[tuple[str, str]]:
    """(group, split) of each piece. by: document, section, or auto (section for fewer than 20 documents).

    known: group -> split of earlier runs.
    """
    if by == "auto":
        by = "document" if len({piece.doc for piece in pieces}) >= FEW_DOCUMENTS else "section"
    names = [piece.doc if by == "document" else f"{piece.doc}\x1f{piece.section}" for piece in pieces]
    joined = _join_equal(pieces, names)
    sizes: dict[str, int] = defaultdict(int)
    for piece, name in zip(pieces, joined):
        sizes[name] += len(piece.text)
    ids = {name: digest(name)[:16] for name in sizes}
    fixed = {name: known[id] for name, id in ids.items() if known and id in known}
    places = _places(sizes, val, test, seed, fixed)
    return [(ids[name], places[name]) for name in joined]


def _join_equal(pieces: Sequence[Piece], names: Sequence[str]) -> list[str]:
    """Names after groups that share nearly equal text were put together under the first name in the alphabet."""
    order = sorted(set(names))
    number = {name: at for at, name in enumerate(order)}
    links = [
        (number[names[left]], number[names[right]], 1.0)
        for left, right, _ in near_pairs([piece.text for piece in pieces], NEAR)
        if names[left] != names[right]
    ]
    first = {name: name for name in order}
    for group in groups(len(order), links):
        for at in group:
            first[order[at]] = order[group[0]]
    return [first[name] for name in names]


def _places(sizes: dict[str, int], val: float, test: float, seed: int, fixed: Mapping[str, str]) -> dict[str, str]:
    """Names to splits: in the order of their hashes, test is filled first, then val, by characters.

    A group goes to a split only while that brings the split nearer to its share; a split that is asked for gets at least one
    group, the smallest of the first few, where there are three groups or more.
    """
    total = sum(sizes.values())
    order = sorted(sizes, key=lambda name: digest(str(seed), name))
    places = dict.fromkeys(order, "train") | dict(fixed)
    for split, share in (("test", test), ("val", val)):
        if not share:
            continue
        wanted, got = share * total, sum(sizes[name] for name in order if places[name] == split)
        for name in order:
            size = sizes[name]
            if name not in fixed and places[name] == "train" and abs(got + size - wanted) < abs(got - wanted):
                places[name] = split
                got += size
        free = [name for name in order if name not in fixed and places[name] == "train"]
        if not got and len(free) > 2:
            places[min(free, key=sizes.__getitem__)] = split
    return places
