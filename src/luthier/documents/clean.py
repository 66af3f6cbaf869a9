"""Rules that tidy a chunk before a model or a reader sees it. The stored text never changes; difference() shows what a rule
did.

Enters: text. Leaves: text. A rule only takes away what is no words (images, comments, spare blanks); no rule rewrites a
sentence.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable

from luthier.errors import ConfigError
from luthier.registry import nearest

IMAGE = re.compile(r"!\[[^\]\n]*\]\([^)\n]*\)|!\[[^\]\n]*\]\[[^\]\n]*\]|<img\b[^>]*>", re.IGNORECASE)
COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
LINK = re.compile(r"(?<!!)\[([^\]\n]+)\]\((?!https?:|mailto:)[^)\n]*\)")
ANCHOR = re.compile(r"[ \t]*\{#[\w-]+\}|<a\s+(?:name|id)=[^>]*>\s*</a>")
TRAILING = re.compile(r"[ \t\u00a0\u200b]+$", re.MULTILINE)
PAGE_LINE = re.compile(r"^\s*(?:-\s*)?\d{1,4}(?:\s*-)?\s*$\n?", re.MULTILINE)


def _images(text: str) -> str:
    """Images out; their file names say nothing to a language model."""
    return IMAGE.sub("", text)


def _links(text: str) -> str:
    """Links within the documents to their words; links to the web stay."""
    return LINK.sub(r"\1", text)


def _spaces(text: str) -> str:
    """No blanks at line ends, no more than one blank line."""
    return re.sub(r"\n{3,}", "\n\n", TRAILING.sub("", text)).strip("\n")


RULES: dict[str, Callable[[str], str]] = {
    "images": _images,
    "links": _links,
    "comments": lambda text: COMMENT.sub("", text),
    "anchors": lambda text: ANCHOR.sub("", text),
    "page_numbers": lambda text: PAGE_LINE.sub("", text),
    "spaces": _spaces,
}


def clean(text: str, rules: Iterable[str]) -> str:
    """The text after the rules, in their order. Raises ConfigError for an unknown rule."""
    for name in rules:
        if name not in RULES:
            close = nearest(name, list(RULES))
            hint = f'Did you mean "{close[0]}"? ' if close else ""
            raise ConfigError(f'clean.rules: unknown rule "{name}".', f"{hint}Known: {', '.join(RULES)}")
        text = RULES[name](text)
    return text


def difference(before: str, after: str) -> str:
    """A unified diff of lines, "" where nothing changed."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), "stored", "cleaned", n=1, lineterm="")
    return "\n".join(lines)


def as_answer(text: str) -> str:
    """A stretch of source as an answer: without images, inner links, comments and spare blanks."""
    return clean(text, ("comments", "images", "links", "anchors", "spaces")).strip()
