"""Running heads and page numbers of a PDF: what comes again at the edge of pages.

Enters: pages as lines, which are changed. Leaves: how many were taken away. A line goes where it is the same on three pages but
for numbers, and each number in it follows the page or hardly changes ("Order 17: 3 pumps" of a form stays); or where it holds
the number of its very page and words that stand beside another page's. Never all that a page says.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence

EDGE_LINES = 2
LEAST_REPEATS = 3
LONGEST = 120
SHORT = 40
RUNNING_SHARE = 0.5
NUMBERED_SHARE = 0.3
LEAST_PREFIX = 12
MARKS = re.compile(r"[\s*_`#|\\\u200b\u00ad.…:：·-]+")
NUMERAL = re.compile(r"\d+|\b[ivxlc]+\b")
NOT_HEADS = ("|", "```")


def remove_running_heads(pages: list[list[str]]) -> int:
    seen: dict[str, list[tuple[int, list[str]]]] = defaultdict(list)
    for number, page in enumerate(pages):
        for at in _edges(page):
            if len(page[at]) <= LONGEST and (key := _key(page[at])):
                seen[key].append((number, NUMERAL.findall(page[at].lower())))
    least = max(LEAST_REPEATS, min(len(pages) // 50, 20))
    often = {key for key, places in seen.items() if len(places) >= least and _runs(places)}
    beside = _beside_numbers(pages)
    prefixes = [_prefix(key) for key in often if len(key) >= LEAST_PREFIX]
    removed = 0
    for number, page in enumerate(pages):
        gone = [
            at
            for at in _edges(page)
            if not page[at].startswith(NOT_HEADS)
            and (_key(page[at]) in often or _around(page[at], number, beside) in beside[1])
        ]
        filled = sum(bool(line.strip()) for line in page)
        if len(gone) == filled and (filled > EDGE_LINES or sum(len(page[at]) for at in gone) > SHORT):
            continue
        for at in sorted(gone, reverse=True):
            del page[at]
        removed += len(gone) + _cut_prefix(page, prefixes)
    return removed


def _edges(page: list[str]) -> list[int]:
    filled = [at for at, line in enumerate(page) if line.strip()]
    return sorted({*filled[:EDGE_LINES], *filled[-EDGE_LINES:]})


def _key(line: str) -> str:
    """A line with every number as one mark, so that "Page 12" and "Page 13" are the same."""
    return NUMERAL.sub("0", MARKS.sub(" ", line.lower())).strip()


def _runs(places: Sequence[tuple[int, list[str]]]) -> bool:
    """Whether each number of a line that comes again follows the page, or is mostly the same. places: (page, numbers)."""
    for column in zip(*(numbers for _, numbers in places)):
        offsets = Counter(int(value) - page for value, (page, _) in zip(column, places) if value.isdecimal())
        usual = max((*Counter(column).values(), *offsets.values()), default=0)
        if usual < RUNNING_SHARE * len(places) and any(value.isdecimal() for value in column):
            return False
    return True


def _beside_numbers(pages: Sequence[list[str]]) -> tuple[int | None, set[str]]:
    """(what is added to a page's place to get the number printed on it, words that stand beside such numbers on two pages)."""
    found: Counter[int] = Counter()
    for number, page in enumerate(pages):
        found.update({value - number for at in _edges(page) for value, _ in _outer_numbers(page[at])})
    offset, count = found.most_common(1)[0] if found else (0, 0)
    if count < max(LEAST_REPEATS, NUMBERED_SHARE * len(pages)):
        return None, set()
    words: Counter[str] = Counter({"": 2})
    for number, page in enumerate(pages):
        words.update({rest for at in _edges(page) for value, rest in _outer_numbers(page[at]) if value == number + offset})
    return offset, {rest for rest, count in words.items() if count > 1}


def _outer_numbers(line: str) -> list[tuple[int, str]]:
    """(number, the key of the rest) for a number at the beginning or the end of a short line."""
    if len(line) > LONGEST or line.startswith(NOT_HEADS):
        return []
    plain = MARKS.sub(" ", line.lower()).strip()
    ends = re.match(r"(?P<number>\d{1,5})(?: (?P<rest>.*))?$", plain), re.match(r"(?P<rest>.*) (?P<number>\d{1,5})$", plain)
    return [(int(end["number"]), _key(end["rest"] or "")) for end in ends if end]


def _around(line: str, number: int, beside: tuple[int | None, set[str]]) -> str | None:
    """What stands beside the page's own number in a line; None where that is not in it."""
    offset = beside[0]
    rests = [rest for value, rest in _outer_numbers(line) if offset is not None and value == number + offset]
    return next((rest for rest in rests if rest in beside[1]), None)


def _prefix(key: str) -> re.Pattern[str]:
    """A running head at the beginning of a line, where it was run together with the text."""
    gap = f"(?:{MARKS.pattern})?"
    parts = (
        rf"(?:\d+|[ivxlc]+)\b{gap}" if part == "0" else re.escape(part) + gap for part in re.split(r"(\b0\b)|\s+", key) if part
    )
    return re.compile(gap + "".join(parts), re.IGNORECASE)


def _cut_prefix(page: list[str], prefixes: Sequence[re.Pattern[str]]) -> int:
    """Take a running head from the beginning of a page's first line. Returns how many were."""
    first = next((at for at, line in enumerate(page) if line.strip()), None)
    if first is None or page[first].startswith(NOT_HEADS):
        return 0
    for prefix in prefixes:
        if (match := prefix.match(page[first])) and len(page[first]) > match.end():
            page[first] = page[first][match.end() :]
            return 1
    return 0
