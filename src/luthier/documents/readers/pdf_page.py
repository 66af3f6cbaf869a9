"""A PDF page with ruled tables as Markdown: the tables by their lines, the rest as liteparse understands it.

Enters: a page of liteparse with its drawn lines, text items and blocks. Leaves: its Markdown, or None where nothing is ruled:
then liteparse's own stands. A block that runs into a table, or that was taken for a table of one column, is read again by its
words, so every word of the page is where it belongs, once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from luthier.documents.readers.pdf_grid import NEAR, Grid, cells_of, find_grids
from luthier.documents.readers.pdf_words import Word, is_code_font, paragraphs
from luthier.documents.readers.table import table_of


def page_with_tables(page: Any, known: frozenset[str] = frozenset()) -> str | None:
    """known: words of the document, by which a word that is broken at a line's end is made whole."""
    grids = find_grids(page.vector_graphics)
    if not grids and not any(_is_box(block) for block in page.blocks):
        return None
    items = [(_word(item, is_code_font(item.font_name)), item) for item in page.text_items if item.text.strip()]
    tables: list[tuple[Grid, str]] = []
    for grid in grids:
        words = [part for word, item in items if grid.holds(word) for part in _parts(grid, word, item)]
        if table := table_of(cells_of(grid, words, known)):
            tables.append((grid, table))
            items = [(word, item) for word, item in items if not grid.holds(word)]
    return _render(page.blocks, tables, [word for word, _ in items], known)


def _word(item: Any, is_code: bool) -> Word:
    return Word(item.x, item.y, item.width, item.height, item.text, is_code)


def _parts(grid: Grid, word: Word, item: Any) -> list[Word]:
    """The words of an item that runs over the border of a column, else the item as it is."""
    return [_word(part, word.is_code) for part in item.words] or [word] if grid.is_crossed_by(word) else [word]


def _is_box(block: Any) -> bool:
    """Whether liteparse took a box of code or a note, which has one column, for a table."""
    return block.kind == "table" and block.bbox is not None and all(len(row) < 2 for row in [block.header or [], *block.rows])


def _render(blocks: Sequence[Any], tables: list[tuple[Grid, str]], free: list[Word], known: frozenset[str]) -> str:
    """Each table stands in the place of the first block that it takes in."""
    done: list[str] = []
    left = list(tables)
    numbers: dict[int, int] = {}
    was_item = False
    words = _by_block(blocks, free)
    for at, block in enumerate(blocks):
        box = block.bbox
        mine = [entry for entry in tables if box is not None and entry[0].touches(box)]
        is_item = block.kind == "list_item" and not mine
        if mine or _is_box(block):
            above = mine[0][0].ys[0] if mine else float("inf")
            done += paragraphs([word for word in words[at] if word.y < above], known)
            done += [table for grid, table in left if (grid, table) in mine]
            left = [entry for entry in left if entry not in mine]
            done += paragraphs([word for word in words[at] if word.y >= above], known)
        else:
            text = _block(block, numbers)
            done += [text] if text and not (is_item and was_item) else []
            if is_item and was_item:
                done[-1] += f"\n{text}"
        if not is_item:
            numbers.clear()
        was_item = is_item
    return "\n\n".join(done + [table for _, table in left])


def _by_block(blocks: Sequence[Any], free: Sequence[Word]) -> dict[int, list[Word]]:
    """The words of each block: a word that lies in several boxes is of the smallest."""
    boxes = sorted((box.width * box.height, at, box) for at, block in enumerate(blocks) if (box := block.bbox) is not None)
    found: dict[int, list[Word]] = {at: [] for at in range(len(blocks))}
    for word in free:
        x, y = word.middle
        for _, at, box in boxes:
            if box.x - NEAR <= x <= box.x + box.width + NEAR and box.y - NEAR <= y <= box.y + box.height + NEAR:
                found[at].append(word)
                break
    return found


def _block(block: Any, numbers: dict[int, int]) -> str:
    """One block as liteparse itself writes it. numbers: of the ordered list that is open, by depth."""
    kind, text = block.kind, block.text or ""
    if kind == "heading":
        return f"{'#' * (block.level or 1)} {text}"
    if kind == "list_item":
        depth = block.level or 0
        for deeper in [key for key in numbers if key > depth]:
            del numbers[deeper]
        numbers[depth] = numbers.get(depth, 0) + 1
        return f"{'  ' * depth}{f'{numbers[depth]}.' if block.ordered else '-'} {text}"
    if kind in ("code", "grid_fallback"):
        return "\n".join([f"```{block.lang or ''}", *(block.lines or []), "```"])
    if kind == "table":
        rows = ([block.header] if block.header else []) + list(block.rows or [])
        return table_of([cell.text for cell in row] for row in rows)
    if kind in ("rule", "figure"):
        return "---" if kind == "rule" else ""
    marks = "*" * (2 * block.bold + block.italic)
    return f"{marks}{text}{marks}"
