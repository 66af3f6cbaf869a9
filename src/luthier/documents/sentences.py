"""Where sentences end, in Chinese and English.

Enters: text and a span. Leaves: offsets right after each sentence, closing quotes and brackets included.
"""

from __future__ import annotations

import re

END = re.compile(r"[。！？；…]+[”’」』）】》\"')\]*_]*|[.!?]+[\"')\]”’*_]*(?=\s|$)")
NO_END = re.compile(
    r"(?:^|[\s(\[\"'“])(?:[A-Z]|\d{1,3}|e\.g|i\.e|cf|vs|etc|al|resp|approx|Mr|Mrs|Ms|Dr|Prof|St|No|Nr|Fig|Figs|Eq|Sec|Ch|Vol|pp|p"
    r"|Inc|Ltd|Co|Corp|Jr|Sr|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sep|Sept|Oct|Nov|Dec)\.$"
)
"""What stands before a full stop that ends no sentence: initials, numbers of a list, abbreviations."""
LOOK_BACK = 12
CJK = re.compile("[\u3400-\u9fff\uf900-\ufaff\u3040-\u30ff]")
LETTER = re.compile(r"[^\W\d_]")


def sentence_ends(text: str, start: int, end: int) -> list[int]:
    """Offsets in (start, end], ascending. The end of the span is one of them only if a sentence ends there."""
    found = []
    for match in END.finditer(text, start, min(end + 1, len(text))):
        stop = match.end()
        if stop > end or (match.group()[0] == "." and stop < len(text) and not text[stop].isspace()):
            continue
        if match.group()[0] == "." and NO_END.search(text[max(start, match.start() - LOOK_BACK) : match.start() + 1]):
            continue
        found.append(stop)
    return found


def sentences(text: str) -> list[str]:
    """The sentences of a text, stripped, empty ones left out; a line break ends one too."""
    found = []
    for line in text.splitlines():
        at = 0
        for stop in [*sentence_ends(line, 0, len(line)), len(line)]:
            if sentence := line[at:stop].strip():
                found.append(sentence)
            at = stop
    return found


def language_of(text: str) -> str:
    """zh where at least 15 % of the letters are Chinese (code and names are Latin in Chinese texts too), else en."""
    sample = text[:20_000]
    letters = len(LETTER.findall(sample))
    return "zh" if letters and len(CJK.findall(sample)) / letters >= 0.15 else "en"


def estimate_tokens(text: str) -> int:
    """About how many tokens a model's tokenizer makes of it: 0.7 a Chinese character, 1 for 4 others. Right within a third."""
    chinese = len(CJK.findall(text))
    return max(1, round(chinese * 0.7 + (len(text) - chinese) / 4)) if text else 0
