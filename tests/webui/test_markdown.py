"""Text of a model never becomes anything but text, links, code and formulas."""

import re
from html.parser import HTMLParser

import pytest

from luthier.webui.markdown import to_html

ATTACKS = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[click](javascript:alert(1))",
    "[click](JaVaScRiPt:alert(1))",
    "[click](data:text/html;base64,PHNjcmlwdD4=)",
    "![x](http://elsewhere.example/p.png)",
    '![x](x" onerror="alert(1))',
    "<svg onload=alert(1)>",
    "<a href='javascript:alert(1)'>x</a>",
    "```\n<script>alert(1)</script>\n```",
    "`<img src=x onerror=alert(1)>`",
    "$\\text{<img src=x onerror=alert(1)>}$",
    "$$\\href{javascript:alert(1)}{x}$$",
    "<style>body{display:none}</style>",
    "[a]: javascript:alert(1)\n\n[a]",
    "<iframe src=//elsewhere.example></iframe>",
    "<javascript:alert(1)>",
]


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_that_acts_gets_through(attack):
    parser = Tags()
    parser.feed(to_html(attack))
    for tag, attributes in parser.found:
        assert tag not in {"script", "img", "svg", "iframe", "style", "object", "form", "input", "link"}, (tag, attack)
        assert not any(name.startswith("on") for name in attributes), (attributes, attack)
        assert not re.match(r"\s*(javascript|data|vbscript):", attributes.get("href") or "", re.IGNORECASE), (
            attributes,
            attack,
        )


def test_markdown_code_and_formulas():
    html = to_html(
        "# Title\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```python\nprint('<b>')\n```\n\n$x^2$ and $$\\frac{1}{2}$$, 5$ or 6$"
    )
    assert "<h1" in html and "<table" in html and "&lt;b&gt;" in html.replace("&#39;", "'")
    assert html.count("<math") == 2 and "5$ or 6$" in html
    assert "<b>" not in html


def test_a_line_break_of_the_model_stays_one():
    assert "<br" in to_html("one\ntwo")
