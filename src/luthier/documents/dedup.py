"""The same row twice: exactly, or nearly. Candidates by MinHash (rensa), each one verified by the true Jaccard similarity.

Enters: texts. Leaves: groups of indices. 24,000 short texts take about a second. Precision is 1 by construction, since what
MinHash proposes is counted again shingle by shingle. Shingles are 2 characters of a text with Chinese in it, 4 of others,
after NFKC, small letters, and without punctuation.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np

NUM_HASHES = 64
ROWS_PER_BAND = 4
MIX = np.array([1, 0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9], np.uint64)
MOST_IN_BUCKET = 50
BATCH = 4096
SAME_QUESTION = 0.85
PARTICULARS = re.compile(r"\d+(?:\.\d+)*|[\"“「`][^\"”」`]*[\"”」`]|(?<=\s)[A-Z]\w*")
NOT_WORDS = re.compile(r"[\W_]+")
CJK = re.compile("[\u3400-\u9fff\u3040-\u30ff\uac00-\ud7af]")


def normal(text: str) -> str:
    """NFKC, small letters, no punctuation, single blanks."""
    text = text if text.isascii() else unicodedata.normalize("NFKC", text)
    return NOT_WORDS.sub(" ", text.lower()).strip()


def shingles(text: str) -> set[str]:
    """The overlapping pieces that are compared."""
    text = normal(text)
    size = 2 if CJK.search(text) else 4
    text = text.replace(" ", "") if size == 2 else text
    return {text[at : at + size] for at in range(max(1, len(text) - size + 1))}


def jaccard(left: set, right: set) -> float:
    both = len(left & right)
    return both / (len(left) + len(right) - both) if both else 0.0


def near_pairs(texts: Sequence[str], near: float) -> Iterator[tuple[int, int, float]]:
    """(i, j, similarity), i < j, for pairs whose Jaccard similarity is at least near. Equal texts are found too."""
    yield from _verified(_candidates(band_keys(texts)), texts, texts, near)


def cross_pairs(held: Sequence[str], keys: np.ndarray, batch: Sequence[str], near: float) -> Iterator[tuple[int, int, float]]:
    """(i in held, j in batch, similarity), so that many texts are compared with few without keeping them.

    keys: band_keys(held).
    """
    new = band_keys(batch)
    seen: set[tuple[int, int]] = set()
    for band in range(keys.shape[1]):
        order = np.argsort(keys[:, band], kind="stable")
        ordered = keys[order, band]
        left, right = np.searchsorted(ordered, new[:, band], "left"), np.searchsorted(ordered, new[:, band], "right")
        for at in np.flatnonzero(right > left):
            seen.update((int(order[place]), int(at)) for place in range(left[at], min(right[at], left[at] + MOST_IN_BUCKET)))
    yield from _verified(iter(sorted(seen)), held, batch, near)


def _verified(
    candidates: Iterator[tuple[int, int]], lefts: Sequence[str], rights: Sequence[str], near: float
) -> Iterator[tuple[int, int, float]]:
    pieces = lru_cache(maxsize=4096)(shingles)
    for left, right in candidates:
        one, other = pieces(lefts[left]), pieces(rights[right])
        smaller, larger = sorted((len(one), len(other)))
        if smaller >= near * larger and (similarity := jaccard(one, other)) >= near:
            yield left, right, similarity


def same_questions(questions: Sequence[str]) -> Iterator[tuple[int, int, float]]:
    """(i, j, similarity) of questions that ask the same: hardly a shingle differs, and no number, quoted name or code does.

    Questions made from one pattern are near-duplicates letter by letter ("How do I open A?", "How do I open B?"), so nearness
    alone does not say it.
    """
    for left, right, similarity in near_pairs(questions, SAME_QUESTION):
        if particulars(questions[left]) == particulars(questions[right]):
            yield left, right, similarity


def particulars(text: str) -> tuple[str, ...]:
    """Numbers, quoted words and names of a question: where they differ, another thing is asked."""
    return tuple(sorted(word.lower() for word in PARTICULARS.findall(text)))


def band_keys(texts: Sequence[str]) -> np.ndarray:
    """uint64 (len(texts), bands): two texts with a key in common are worth comparing. Shingles are kept for a moment only."""
    found = [np.empty((0, NUM_HASHES // ROWS_PER_BAND), np.uint64)]
    for at in range(0, len(texts), BATCH):
        signatures = _signatures([shingles(text) for text in texts[at : at + BATCH]])
        bands = signatures.reshape(len(signatures), -1, ROWS_PER_BAND).astype(np.uint64)
        found.append((bands * MIX).sum(axis=2, dtype=np.uint64))
    return np.concatenate(found)


def _candidates(keys: np.ndarray) -> Iterator[tuple[int, int]]:
    """Pairs that have a band key in common."""
    seen: set[int] = set()
    for band in range(keys.shape[1]):
        order = np.argsort(keys[:, band], kind="stable")
        ordered = keys[order, band]
        edges = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1], True])
        for at in np.flatnonzero(np.diff(edges) > 1):
            members = order[edges[at] : edges[at + 1]][:MOST_IN_BUCKET].tolist()
            for place, left in enumerate(members):
                for right in members[place + 1 :]:
                    key = left * len(keys) + right
                    if key not in seen:
                        seen.add(key)
                        yield left, right


def _signatures(sets: Sequence[set[str]]) -> np.ndarray:
    """uint32 (len(sets), NUM_HASHES). By rensa where it is installed; the same idea in numpy where it is not."""
    try:
        from rensa import RMinHash
    except ImportError:
        return _plain_signatures(sets)
    return np.array(RMinHash.digest_matrix_from_token_sets(sets, NUM_HASHES, 42).to_rows(), dtype=np.uint32)


def _plain_signatures(sets: Sequence[set[str]]) -> np.ndarray:
    random = np.random.default_rng(42)
    a = random.integers(1, 2**64, size=(NUM_HASHES, 1), dtype=np.uint64) | np.uint64(1)
    b = random.integers(0, 2**64, size=(NUM_HASHES, 1), dtype=np.uint64)
    found = np.empty((len(sets), NUM_HASHES), np.uint32)
    for row, pieces in enumerate(sets):
        codes = np.array([zlib.crc32(piece.encode("utf-8", "surrogatepass")) for piece in pieces], np.uint64)
        found[row] = ((a * codes + b) >> np.uint64(32)).min(axis=1).astype(np.uint32)
    return found


def groups(count: int, pairs: Iterator[tuple[int, int, float]] | Sequence[tuple[int, int, float]]) -> list[list[int]]:
    """Indices that hang together, groups of two and more only, in order of their first member."""
    parent = list(range(count))

    def root(at: int) -> int:
        while parent[at] != at:
            parent[at] = parent[parent[at]]
            at = parent[at]
        return at

    for left, right, _ in pairs:
        a, b = root(left), root(right)
        if a != b:
            parent[max(a, b)] = min(a, b)
    members: dict[int, list[int]] = defaultdict(list)
    for at in range(count):
        members[root(at)].append(at)
    return [group for group in members.values() if len(group) > 1]
