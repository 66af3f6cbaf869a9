"""Text to chunks: spans that respect headings, tables, code, lists and sentences. 10 MB in under a second.

Enters: Markdown text and a limit. Leaves: chunks in order; between two of them lies white space only, so spans and gaps join
to the text, character by character. Never copies text and never cuts inside a table, code block, list or sentence that fits.

A heading goes with what follows it. A block over the limit is cut at its own seams (rows, lines, items, sentences), and what
must be read before the rest (a table's header, a fence's first line) is given as a prefix span. A chunk below the minimum joins
its neighbour under the same parent heading.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from luthier.documents.base import Block, Chunk
from luthier.documents.blocks import find_blocks
from luthier.documents.sentences import sentence_ends

MARKUP = re.compile(r"!?\[([^\]]*)\](?:\([^)]*\)|\[[^\]]*\])?|[*_`]{1,3}|\{#[^}]*\}|</?\w[^>]*>|\\(?=[^\w\s])")
LINES = re.compile(r"\n")
BLANK_LINES = re.compile(r"\n[ \t]*\n")
TOP_ITEMS = re.compile(r"\n(?=[-*+][ \t]|\d{1,9}[.)][ \t])")
ITEMS = re.compile(r"\n(?=[ \t]*(?:[-*+]|\d{1,9}[.)])[ \t])")
CLAUSES = re.compile(r"[，、,：:][”’\"')]*|[ \t]+|\n")
SEAMS = {
    "table": (LINES,),
    "html": (re.compile(r"(?<=</tr>)", re.IGNORECASE), LINES),
    "code": (BLANK_LINES, LINES),
    "list": (TOP_ITEMS, ITEMS, LINES),
    "meta": (LINES,),
}
"""Where a block that is too large may be cut, best first; sentences and clauses come after these."""
OF_LINES = ("table", "code", "list")


def make_chunks(text: str, limit: int = 1600, minimum: int = 300) -> list[Chunk]:
    """limit, minimum: in characters; no chunk is longer than limit, its prefix included."""
    pieces: list[_Piece] = []
    for path, blocks in _sections(text):
        pieces += _pack(text, path, blocks, limit)
    return [piece.chunk() for piece in _merge(pieces, limit, minimum)]


class _Piece:
    """A chunk that still grows. sizes: characters by kind of block."""

    __slots__ = ("end", "path", "prefix", "sizes", "start")

    def __init__(self, path: tuple[str, ...], start: int, end: int, kind: str, prefix: tuple[int, int] | None = None):
        self.path, self.start, self.end, self.prefix = path, start, end, prefix
        self.sizes = {kind: end - start}

    def grow(self, end: int, kind: str, size: int) -> None:
        self.end = end
        self.sizes[kind] = self.sizes.get(kind, 0) + size

    def chunk(self) -> Chunk:
        kind = max(self.sizes, key=self.sizes.__getitem__)
        kind = kind if kind in OF_LINES else "text"
        return Chunk(start=self.start, end=self.end, path=self.path, prefix=self.prefix, kind=kind)


def heading_title(text: str, block: Block) -> str:
    """The words of a heading without marks and links."""
    line = text[block.start : block.end]
    if line.lstrip(" ").startswith("#"):
        line = line.strip().lstrip("#").strip()
        line = re.sub(r"(?:^|\s)#+$", "", line)
    else:
        line = line.rsplit("\n", 1)[0]
    return " ".join(MARKUP.sub(r"\1", line).split())


def _sections(text: str) -> Iterator[tuple[tuple[str, ...], list[Block]]]:
    """Headings with what follows them up to the next heading; headings with nothing below them go with the next section."""
    stack: list[tuple[int, str]] = []
    path: tuple[str, ...] = ()
    held: list[Block] = []
    has_body = False
    for block in find_blocks(text):
        if block.kind == "heading":
            if has_body:
                yield path, held
                held, has_body = [], False
            while stack and stack[-1][0] >= block.level:
                stack.pop()
            stack.append((block.level, heading_title(text, block)))
            path = tuple(title for _, title in stack if title)
        else:
            has_body = True
        held.append(block)
    if held:
        yield path, held


def _pack(text: str, path: tuple[str, ...], blocks: list[Block], limit: int) -> list[_Piece]:
    """Blocks of one section in as few pieces as greedy filling makes."""
    if blocks[-1].end - blocks[0].start <= limit:
        first = blocks[0]
        piece = _Piece(path, first.start, first.end, first.kind)
        for block in blocks[1:]:
            piece.grow(block.end, block.kind, block.end - block.start)
        return [piece]
    done: list[_Piece] = []
    piece: _Piece | None = None
    bare = True  # the piece holds headings only
    before: Block | None = None
    for block in blocks:
        if piece is not None and block.end - piece.start + _size(piece.prefix) <= limit:
            piece.grow(block.end, block.kind, block.end - block.start)
        elif piece is not None and bare and block.kind != "heading":
            cut = _cut(text, block, limit, limit - (block.start - piece.start))
            piece.grow(cut[0][1], block.kind, cut[0][1] - cut[0][0])
            for start, end, prefix in cut[1:]:
                done.append(piece)
                piece = _Piece(path, start, end, block.kind, prefix)
        else:
            start = block.start
            if piece is not None:
                if before is not None and _moves_on(text, piece, before, block, limit):
                    piece.end, start = _last_end(text, piece.start, before.start), before.start
                done.append(piece)
            if block.end - start <= limit:
                piece = _Piece(path, start, block.end, block.kind)
            else:
                for begin, end, prefix in _cut(text, block, limit, limit):
                    piece = _Piece(path, begin, end, block.kind, prefix)
                    done.append(piece)
                done.pop()
        bare = bare and block.kind == "heading" if piece is not None and piece.start <= blocks[0].start else False
        before = block
    return [*done, piece] if piece is not None else done


def _size(prefix: tuple[int, int] | None) -> int:
    return prefix[1] - prefix[0] if prefix else 0


def _moves_on(text: str, piece: _Piece, before: Block, block: Block, limit: int) -> bool:
    """Whether the paragraph at a piece's end announces, with a colon, the table, list or code that begins the next piece."""
    announces = before.kind == "paragraph" and block.kind in OF_LINES and text[before.end - 1] in ":："
    return announces and piece.start < before.start and piece.end == before.end and block.end - before.start <= limit


def _last_end(text: str, start: int, stop: int) -> int:
    while stop > start and text[stop - 1].isspace():
        stop -= 1
    return stop


def _cut(text: str, block: Block, limit: int, first: int) -> list[tuple[int, int, tuple[int, int] | None]]:
    """A block that is too large as spans with prefix. first: room for the first one."""
    prefix = _prefix(text, block, limit)
    room = limit - _size(prefix)
    seams = SEAMS.get(block.kind, ())
    spans: list[tuple[int, int, tuple[int, int] | None]] = []
    at, budget = block.start, max(first, 1)
    least = (prefix[1] - at + 1) if prefix else 0  # the first piece is more than the header alone
    if budget < least or budget < limit // 4:
        budget = limit
    while block.end - at > budget:
        stop = _seam(text, at, at + budget, seams, at + (least if at == block.start else 0))
        end = _last_end(text, at, stop)
        spans.append((at, end, prefix if spans else None))
        at = _next_start(text, stop, block.end, keeps_indent=block.kind in OF_LINES)
        budget = room
    spans.append((at, block.end, prefix if spans else None))
    return [span for span in spans if span[1] > span[0]]


def _prefix(text: str, block: Block, limit: int) -> tuple[int, int] | None:
    """The header of a table, the first line of a fence; None where it would take over a third of the limit."""
    if block.kind == "table":
        end = text.find("\n", text.find("\n", block.start) + 1)
    elif block.kind == "code" and text[block.start : block.start + 6].lstrip()[:3] in ("```", "~~~"):
        end = text.find("\n", block.start)
    else:
        return None
    return (block.start, end) if 0 < end < block.end and end - block.start <= limit // 3 else None


def _seam(text: str, at: int, stop: int, seams: tuple[re.Pattern[str], ...], least: int) -> int:
    """The best place in (least, stop] to end a piece that began at at."""
    for seam in seams:
        places = [match.end() for match in seam.finditer(text, at, stop + 1) if least < match.end() <= stop + 1]
        if places:
            return min(places[-1], stop + 1)
    if ends := [end for end in sentence_ends(text, at, stop) if end > at]:
        return ends[-1]
    places = [match.end() for match in CLAUSES.finditer(text, at, stop) if match.start() > at]
    return places[-1] if places else stop


def _next_start(text: str, at: int, end: int, keeps_indent: bool) -> int:
    """Where the next piece begins: after white space, but with the indentation of its line where that means something."""
    begin = at
    while begin < end and text[begin].isspace():
        begin += 1
    if keeps_indent:
        line = text.rfind("\n", at - 1, begin) + 1
        return max(line, at) if line else begin
    return begin


def _merge(pieces: list[_Piece], limit: int, minimum: int) -> list[_Piece]:
    """Small pieces joined with the next one, or else with the one before, under the same parent."""
    done: list[_Piece] = []
    for piece in pieces:
        if done:
            last = done[-1]
            small = min(last.end - last.start, piece.end - piece.start) < minimum
            if small and piece.end - last.start + _size(last.prefix) <= limit and _same_parent(last, piece):
                _join(last, piece)
                continue
        done.append(piece)
    return done


def _same_parent(left: _Piece, right: _Piece) -> bool:
    parent = left.path[:-1]
    inside = right.prefix is None or right.prefix[0] >= left.start
    return inside and (right.path[: len(parent)] == parent)


def _join(left: _Piece, right: _Piece) -> None:
    left.end = right.end
    for kind, size in right.sizes.items():
        left.sizes[kind] = left.sizes.get(kind, 0) + size
    if right.path[: len(left.path)] != left.path:
        left.path = left.path[:-1]
