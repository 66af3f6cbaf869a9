"""Ruled tables of a PDF page: cells by the lines that are drawn, not by guesses about the gaps between words.

Enters: the drawn lines of a page, and the words inside a table's lines. Leaves: grids, and the rows of cells of each; every
word is in one cell. Lengths are points; y grows downwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from luthier.documents.readers.pdf_words import Word, join_lines, lines_of

NEAR = 2.5
"""Lines nearer than this are one."""
SHORTEST = 6.0
MOST_LINES = 1500
"""A page with more is a drawing."""
LEAST_UNRULED = 3


class Line(NamedTuple):
    """A horizontal or vertical line. at: its y or x.  start, stop: along the other axis."""

    at: float
    start: float
    stop: float


class Grid(NamedTuple):
    """xs, ys: borders of columns and rows, ascending.  across, down: the lines between them."""

    xs: tuple[float, ...]
    ys: tuple[float, ...]
    across: tuple[Line, ...]
    down: tuple[Line, ...]

    def holds(self, word: Word) -> bool:
        x, y = word.middle
        return self.xs[0] - NEAR <= x <= self.xs[-1] + NEAR and self.ys[0] <= y <= self.ys[-1]

    def touches(self, box: Any) -> bool:
        """Whether a block's box lies in it, at least in part."""
        below = box.y + box.height > self.ys[0] + NEAR and box.y < self.ys[-1] - NEAR
        return below and box.x + box.width > self.xs[0] + NEAR and box.x < self.xs[-1] - NEAR

    def is_crossed_by(self, word: Word) -> bool:
        """Whether it runs over the border of a column."""
        return any(word.x + NEAR < x < word.x + word.width - NEAR for x in self.xs)


def find_grids(graphics: Any) -> list[Grid]:
    """Grids with two columns and two rows at least, from the top of the page to its bottom. graphics: of liteparse."""
    lines = graphics.lines if graphics is not None else []
    if not 3 <= len(lines) <= MOST_LINES:
        return []
    across = _straight((min(g.x1, g.x2), max(g.x1, g.x2), g.y1) for g in lines if abs(g.y1 - g.y2) < 1)
    down = _straight((min(g.y1, g.y2), max(g.y1, g.y2), g.x1) for g in lines if abs(g.x1 - g.x2) < 1)
    grids = [_grid(*group) for group in _connected(across, down)]
    return sorted((grid for grid in grids if len(grid.xs) > 2 and len(grid.ys) > 2), key=lambda grid: grid.ys[0])


def _straight(found: Iterable[tuple[float, float, float]]) -> list[Line]:
    return sorted({Line(at, start, stop) for start, stop, at in found if stop - start >= SHORTEST})


def _connected(across: Sequence[Line], down: Sequence[Line]) -> list[tuple[list[Line], list[Line]]]:
    """Lines that cross or meet one another, as (horizontal, vertical); what meets nothing is left out."""
    groups: list[tuple[set[Line], set[Line]]] = []
    for line in down:
        met = {
            other
            for other in across
            if line.start - NEAR <= other.at <= line.stop + NEAR and other.start - NEAR <= line.at <= other.stop + NEAR
        }
        same = [group for group in groups if group[0] & met]
        groups = [group for group in groups if not group[0] & met]
        groups.append((met.union(*(group[0] for group in same)), {line}.union(*(group[1] for group in same))))
    return [(sorted(horizontal), sorted(vertical)) for horizontal, vertical in groups if len(horizontal) > 1]


def _grid(across: Sequence[Line], down: Sequence[Line]) -> Grid:
    """A table without lines at its sides ends where its horizontal lines do."""
    xs = [line.at for line in down] + [min(line.start for line in across), max(line.stop for line in across)]
    return Grid(_merged(xs), _merged(line.at for line in across), tuple(across), tuple(down))


def _merged(places: Iterable[float]) -> tuple[float, ...]:
    done: list[float] = []
    for place in sorted(places):
        if not done or place - done[-1] > NEAR:
            done.append(place)
    return tuple(done)


def cells_of(grid: Grid, words: Sequence[Word], known: frozenset[str]) -> list[list[str]]:
    """Rows of cells. The words of cells that no line divides stand in the first of them.

    known: words of the document, by which a word broken at a line's end is made whole.
    """
    owner = _owners(grid)
    held: dict[tuple[int, int], list[Word]] = {}
    for word in words:
        x, y = word.middle
        held.setdefault(owner[_band(grid.ys, y), _band(grid.xs, x)], []).append(word)
    found: list[list[str]] = []
    for row in range(len(grid.ys) - 1):
        cells = [[line.text for line in lines_of(held.get((row, at), []))] for at in range(len(grid.xs) - 1)]
        counts = {len(cell) for cell in cells if cell}
        if len(grid.ys) == 3 and len(counts) == 1 and min(counts) >= LEAST_UNRULED and sum(map(bool, cells)) > 1:
            found += [[cell[at] if cell else "" for cell in cells] for at in range(counts.pop())]  # rows without lines
        else:
            found.append([join_lines(cell, known) for cell in cells])
    return found


def _owners(grid: Grid) -> dict[tuple[int, int], tuple[int, int]]:
    """Each cell's first cell: itself, or the one at its left or above where nothing is drawn between."""
    owner: dict[tuple[int, int], tuple[int, int]] = {}
    middles = [(left + right) / 2 for left, right in pairwise(grid.xs)]
    across = [[line for line in grid.across if abs(line.at - y) <= NEAR] for y in grid.ys]
    down = [[line for line in grid.down if abs(line.at - x) <= NEAR] for x in grid.xs]
    for row, (top, bottom) in enumerate(pairwise(grid.ys)):
        for column, x in enumerate(middles):
            if column and not _drawn(down[column], (top + bottom) / 2):
                owner[row, column] = owner[row, column - 1]
            elif row and not _drawn(across[row], x):
                owner[row, column] = owner[row - 1, column]
            else:
                owner[row, column] = (row, column)
    return owner


def _drawn(lines: Sequence[Line], through: float) -> bool:
    return any(line.start <= through <= line.stop for line in lines)


def _band(borders: Sequence[float], place: float) -> int:
    """Between which two borders a place is; beyond the outer ones counts to the outer bands."""
    return min(sum(border < place for border in borders[1:-1]), len(borders) - 2)
