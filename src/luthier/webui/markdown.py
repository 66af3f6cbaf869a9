"""Text of a model as HTML: Markdown, code in colours, formulas as MathML; raw HTML, scripts and pictures from elsewhere are
not.

Enters: text that nobody can trust.  Leaves: HTML without a tag that the text brought along: it is escaped before anything is
made of it, links may only be http(s), pictures become links. The browser's sanitiser stands behind it as a second wall.
"""

from __future__ import annotations

import re
from html import escape

import markdown2
from latex2mathml.converter import convert

EXTRAS = ["fenced-code-blocks", "tables", "cuddled-lists", "break-on-newline", "strike", "code-friendly"]
FORMULA = re.compile(
    r"(?P<code>```.*?(?:```|\Z)|`[^`\n]+`)|\$\$(?P<block>.+?)\$\$|\\\[(?P<block2>.+?)\\\]|\\\((?P<inline>.+?)\\\)"
    r"|(?<![\\\w$])\$(?P<inline2>[^\s$][^$\n]*?[^\s$\\]|[^\s$])\$(?![\d$])",
    re.DOTALL,
)
PICTURE = re.compile(r"!\[([^\]\n]*)\]\(([^)\s]+)[^)\n]*\)")
LINK = re.compile(r'<a href="(?!https?://|#)[^"]*"')
ACTS = re.compile(r"""\s(?:href|src|style|on\w+)=(?:"[^"]*"|'[^']*')""", re.IGNORECASE)
MARK = "LUTHIERFORMULA{}END"


def to_html(text: str) -> str:
    """HTML of one message."""
    formulas: list[str] = []

    def keep(match: re.Match[str]) -> str:
        if match["code"]:
            return match["code"]
        block = match["block"] or match["block2"]
        html = _formula(block or match["inline"] or match["inline2"], is_block=bool(block))
        if html is None:
            return match[0]
        formulas.append(html)
        return MARK.format(len(formulas) - 1)

    prepared = PICTURE.sub(r"[\1](\2)", FORMULA.sub(keep, text))
    html = str(markdown2.markdown(prepared, safe_mode="escape", extras=EXTRAS))
    html = LINK.sub('<a href="#"', html).replace("<a href=", '<a rel="noopener noreferrer" target="_blank" href=')
    for number, formula in enumerate(formulas):
        html = html.replace(MARK.format(number), formula)
    return html


def _formula(source: str, *, is_block: bool) -> str | None:
    try:
        return ACTS.sub("", convert(source.strip(), display="block" if is_block else "inline"))
    except Exception:  # half a formula, or a command that it does not know: shown as it was written
        return f"<code>{escape(source)}</code>" if is_block else None
