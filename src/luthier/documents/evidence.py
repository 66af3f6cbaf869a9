"""Quotes looked up in the source: the characters that prove an answer, or the plain fact that they are not there.

Enters: a quote and the span where it should stand. Leaves: Evidence: exact (character by character), fuzzy (the same but for
white space, marks, case, width, or one small slip in twenty characters), or none. Never accepts a paraphrase.
"""

from __future__ import annotations

import difflib
import unicodedata

from luthier.documents.base import Evidence

IGNORED = set(" \t\r\n\u00a0\u3000\u200b*_`#>|~\\\"'“”‘’「」『』…")
LEAST = 4
CLOSE = 0.92
MAX_QUOTE = 2000


def find_quote(text: str, quote: str, start: int, end: int) -> Evidence:
    """Where quote stands in text[start:end]."""
    quote = quote.strip()
    if len(quote) < LEAST:
        return Evidence(quote=quote)
    at = text.find(quote, start, end)
    if at >= 0:
        return Evidence(quote=quote, start=at, end=at + len(quote), match="exact")
    source, places = _folded(text, start, end)
    wanted, _ = _folded(quote[:MAX_QUOTE], 0, len(quote[:MAX_QUOTE]))
    if len(wanted) < LEAST:
        return Evidence(quote=quote)
    at = source.find(wanted)
    if at >= 0:
        return Evidence(quote=quote, start=places[at], end=places[at + len(wanted) - 1] + 1, match="fuzzy")
    found = _nearly(source, wanted)
    if found is None:
        return Evidence(quote=quote)
    return Evidence(quote=quote, start=places[found[0]], end=places[found[1] - 1] + 1, match="fuzzy")


def _folded(text: str, start: int, end: int) -> tuple[str, list[int]]:
    """The characters that count, in small letters, and where each of them stands."""
    characters, places = [], []
    for at in range(start, min(end, len(text))):
        if text[at] in IGNORED:
            continue
        for character in unicodedata.normalize("NFKC", text[at]).lower():
            if character not in IGNORED:
                characters.append(character)
                places.append(at)
    return "".join(characters), places


def _nearly(source: str, wanted: str) -> tuple[int, int] | None:
    """A stretch of source that is wanted but for small slips; found around the longest piece that both have."""
    if len(wanted) < 12:
        return None
    match = (
        difflib.SequenceMatcher(None, source, wanted, autojunk=False).find_longest_match()
        if len(source) * len(wanted) < 8_000_000
        else None
    )
    if match is None or match.size < len(wanted) // 4:
        return None
    begin = max(0, match.a - match.b)
    stop = min(len(source), begin + len(wanted))
    if difflib.SequenceMatcher(None, source[begin:stop], wanted, autojunk=False).ratio() < CLOSE:
        return None
    if _numbers(source[begin:stop]) != _numbers(wanted):  # one digit off is another fact
        return None
    return begin, stop


def _numbers(text: str) -> str:
    return "".join(character for character in text if character.isdigit())
