"""Blocks agree with markdown-it, a CommonMark parser; chunks lose nothing and cut nothing that fits."""

import re
import time
from bisect import bisect_right
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from luthier.documents.blocks import find_blocks
from luthier.documents.chunk import make_chunks
from luthier.documents.sentences import sentence_ends

KINDS = {
    "paragraph": "paragraph", "bullet_list": "list", "ordered_list": "list", "fence": "code", "code_block": "code",
    "blockquote": "quote", "html_block": "html", "hr": "rule", "heading": "heading", "table": "table",
}  # fmt: skip
TRICKY = """# Title

Setext
======

text
- a list right below
  with a lazy

  second paragraph

      code in the item

3. three
4. four

```sh
# no heading

| no | table |
```

~~~
unclosed by ```
~~~

| a | b |
|---|:-:|
| 1 | 2 |
after the table?

    indented code

    still code

> quote
lazy

***
<div>
html
</div>

## Closed ##
第一句。第二句！"""


def by_markdown_it(text: str) -> list[tuple[str, int]]:
    parser = MarkdownIt("commonmark").enable("table")
    found = [
        (KINDS[t.type.removesuffix("_open")], t.map[0]) for t in parser.parse(text) if t.level == 0 and t.map and t.nesting >= 0
    ]
    return without_neighbours(found)


def by_luthier(text: str) -> list[tuple[str, int]]:
    starts = [0]
    for line in text.split("\n"):
        starts.append(starts[-1] + len(line) + 1)
    return without_neighbours([(block.kind, bisect_right(starts, block.start) - 1) for block in find_blocks(text)])


def without_neighbours(blocks: list[tuple[str, int]]) -> list[tuple[str, int]]:
    """Two lists in a row count as one: where one list ends and the next begins decides no cut."""
    return [block for at, block in enumerate(blocks) if not at or not block[0] == blocks[at - 1][0] == "list"]


def manual(assets) -> list[str]:
    files = sorted((assets / "data" / "seafile-manual").rglob("*.md"))
    return [file.read_text(encoding="utf-8") for file in files]


def test_blocks_are_those_of_commonmark():
    assert by_luthier(TRICKY.replace("after the table?\n", "")) == by_markdown_it(TRICKY.replace("after the table?\n", ""))


def test_blocks_of_a_real_manual_are_those_of_commonmark(assets):
    for text in manual(assets):
        assert by_luthier(text) == by_markdown_it(text)


def assert_nothing_is_lost(text: str, limit: int, minimum: int) -> None:
    chunks = make_chunks(text, limit, minimum)
    at, joined = 0, ""
    for chunk in chunks:
        assert not text[at : chunk.start].strip(), "a gap holds words"
        assert at <= chunk.start < chunk.end
        joined += text[at : chunk.start] + text[chunk.start : chunk.end]
        at = chunk.end
        assert chunk.end - chunk.start + (chunk.prefix[1] - chunk.prefix[0] if chunk.prefix else 0) <= limit
    assert not text[at:].strip()
    assert (joined + text[at:]).encode() == text.encode()


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.sampled_from(["# H\n", "\n", "## Sub\n", "- item one\n", "  more\n", "1. first\n", "```\ncode # x\n\n\n```\n",
                         "| a | b |\n|--|--|\n| 1 | 2 |\n",
                         "> q\n", "中文句子。第二句！\n", "A sentence. Another one? Yes.\n", "    code\n", "---\n",
                         "word " * 30 + "\n", "```\nopen\n", "\t\n", "x\r\n"]),
        max_size=40,
    ),
    st.integers(80, 300),
    st.integers(0, 80),
)  # fmt: skip
def test_no_character_is_lost(parts, limit, minimum):
    assert_nothing_is_lost("".join(parts), limit, minimum)


def test_chunks_of_a_real_manual(assets):
    for text in manual(assets):
        for limit, minimum in ((1600, 300), (200, 50)):
            assert_nothing_is_lost(text, limit, minimum)


def test_what_fits_is_not_cut(assets):
    """Tables, code and lists, as markdown-it sees them, stay in one chunk where they are no longer than the limit."""
    parser, limit = MarkdownIt("commonmark").enable("table"), 600
    whole = {"table_open", "fence", "code_block", "bullet_list_open", "ordered_list_open"}
    seen = 0
    for text in manual(assets):
        starts = [0]
        for line in text.split("\n"):
            starts.append(starts[-1] + len(line) + 1)
        cuts = [chunk.end for chunk in make_chunks(text, limit, 100)][:-1]
        for token in parser.parse(text):
            if token.level == 0 and token.type in whole and token.map:
                start, end = starts[token.map[0]], min(starts[token.map[1]], len(text))
                end = start + len(text[start:end].rstrip())
                if end - start <= limit:
                    seen += 1
                    assert not [cut for cut in cuts if start < cut < end], text[start:end]
    assert seen > 100


def test_a_paragraph_is_cut_at_sentences():
    text = (
        "第一句话说明背景。第二句话更长一些！第三句？" * 20
        + "\n\n"
        + "This is one, e.g. a sentence. Mr. Smith wrote 3.5 pages. " * 20
    )
    for chunk in make_chunks(text, 150, 0):
        assert text[chunk.end - 1] in "。！？."
        assert not text[: chunk.end].endswith(("e.g.", "Mr."))


def test_sentence_ends_know_abbreviations_and_quotes():
    text = 'See Fig. 3 of J. Smith, e.g. here. He said "no." Then 2.5 left. 他说：“好。”然后走了。'
    found, at = [], 0
    for stop in sentence_ends(text, 0, len(text)):
        found.append(text[at:stop].strip())
        at = stop
    assert found == ["See Fig. 3 of J. Smith, e.g. here.", 'He said "no."', "Then 2.5 left.", "他说：“好。”", "然后走了。"]


def test_a_heading_goes_with_what_follows_and_paths_are_kept():
    text = "# Book\n\n## One\n\n" + "word " * 60 + "\n\n## Two\n\n### Deep\n\n" + "word " * 60
    chunks = make_chunks(text, 400, 0)
    assert [chunk.path for chunk in chunks] == [("Book", "One"), ("Book", "Two", "Deep")]
    assert text[chunks[0].start : chunks[0].end].startswith("# Book")
    assert text[chunks[1].start : chunks[1].end].startswith("## Two")


def test_a_large_table_is_cut_by_rows_and_its_header_is_the_prefix():
    text = "| name | value |\n|---|---|\n" + "".join(f"| row {n} | {n * n} |\n" for n in range(100))
    chunks = make_chunks(text, 300, 0)
    assert len(chunks) > 4 and all(chunk.kind == "table" for chunk in chunks)
    assert all(text[slice(*chunk.prefix)] == "| name | value |\n|---|---|" for chunk in chunks[1:])
    assert all(text[chunk.start] == "|" and text[chunk.end - 1] == "|" for chunk in chunks)


def test_an_announcing_line_stays_with_its_list():
    text = "A long paragraph of words. " * 12 + "\n\nThe steps are:\n\n" + "".join(f"- step {n}\n" for n in range(12))
    chunks = make_chunks(text, 400, 0)
    assert any(text[chunk.start : chunk.end].startswith("The steps are:\n\n- step 0") for chunk in chunks)


@pytest.fixture(scope="module")
def ten_megabytes() -> str:
    from tests.conftest import ROOT

    folder = ROOT.parent / "shared" / "assets"
    if not folder.is_dir():
        pytest.skip("the test material is not here")
    text = "\n\n".join(manual(folder))
    return text * (10_000_000 // len(text.encode()) + 1)


@pytest.mark.slow
def test_ten_megabytes_take_less_than_a_second(ten_megabytes):
    best = 9.0
    for _ in range(3):
        began = time.process_time()
        chunks = make_chunks(ten_megabytes)
        best = min(best, time.process_time() - began)
    assert len(chunks) > 5000
    assert best < 1.0


@pytest.mark.slow
def test_ten_megabytes_lose_nothing(ten_megabytes):
    assert_nothing_is_lost(ten_megabytes, 1600, 300)


CLOSED = re.compile(r"[.!?。！？；…:：][\"'”’」』）)\]*_`]*$")


@pytest.mark.slow
@pytest.mark.parametrize("limit", [400, 1600])
def test_no_avoidable_cut_in_a_megabyte(assets, limit):
    """By markdown-it: no table, code or list that fits is cut, and no sentence of a paragraph that fits is."""
    text = "\n\n".join(manual(assets))
    text *= 1_000_000 // len(text.encode()) + 1
    starts = [0]
    for line in text.split("\n"):
        starts.append(starts[-1] + len(line) + 1)
    cuts = [chunk.end for chunk in make_chunks(text, limit, limit // 5)][:-1]
    whole = ("table_open", "fence", "code_block", "bullet_list_open", "ordered_list_open")
    seen, through = Counter(), Counter()
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        if token.level or not token.map or token.type not in (*whole, "paragraph_open"):
            continue
        start, end = starts[token.map[0]], min(starts[token.map[1]], len(text))
        end = start + len(text[start:end].rstrip())
        inside = cuts[bisect_right(cuts, start) : bisect_right(cuts, end - 1)]
        seen[token.type] += 1
        if token.type in whole and end - start <= limit:
            through[token.type] += len(inside)
        for cut in inside if token.type == "paragraph_open" else ():
            seen["cut paragraphs"] += 1
            first = max((m.end() for m in re.finditer(r"[.!?](?=\s)|[。！？；]", text[start : cut - 1])), default=0) + start
            after = re.search(r"[.!?](?=\s)|[。！？；]", text[cut:end])
            last = cut + after.end() if after else end
            through["sentence"] += not CLOSED.search(text[start:cut]) and last - first <= limit
    assert seen["table_open"] > 30 and seen["bullet_list_open"] > 300 and seen["fence"] > 200
    assert limit > 400 or seen["cut paragraphs"] > 20
    assert not +through
