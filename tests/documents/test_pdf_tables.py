"""Ruled tables, boxes and large letters of PDF pages: files made by matplotlib, lines and words where this test put them."""

import io

import pytest

from luthier.documents.readers.pdf import read_pdf
from luthier.documents.readers.pdf_words import Word, join_lines, lines_of, paragraphs

WIDTH, HEIGHT = 595, 842


def page(words: list[tuple], lines: list[tuple[float, float, float, float]]) -> bytes:
    """words: (x, y from the top, text[, size]); lines: (x1, y1, x2, y2); all in points."""
    from matplotlib.backends.backend_pdf import FigureCanvasPdf
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    figure = Figure(figsize=(WIDTH / 72, HEIGHT / 72))
    for x, y, text, *size in words:
        figure.text(x / WIDTH, 1 - y / HEIGHT, text, fontsize=size[0] if size else 9, va="top", parse_math=False)
    for x1, y1, x2, y2 in lines:
        figure.add_artist(Line2D([x1 / WIDTH, x2 / WIDTH], [1 - y1 / HEIGHT, 1 - y2 / HEIGHT], linewidth=0.4, color="black"))
    data = io.BytesIO()
    FigureCanvasPdf(figure).print_pdf(data)
    return data.getvalue()


def read(folder, words, lines=()) -> str:
    (folder / "page.pdf").write_bytes(page(words, list(lines)))
    return read_pdf(folder / "page.pdf", {}).text


ROWS = (100, 120, 150, 180)
BESIDE = [(60, y, 400, y) for y in ROWS] + [(160, ROWS[0], 160, ROWS[-1])]  # no lines at the sides


def test_cells_are_those_between_lines(tmp_path):
    words = [
        (60, 40, "The pump tells what is wrong with it by a code on its display."),
        (65, 105, "Code"), (165, 105, "Meaning"),
        (65, 125, "E1"), (165, 123, "The water is too hot, close the"), (165, 135, "valve and wait for a while."),
        (65, 155, "E2"), (65, 165, "E3"), (165, 155, "The filter | is full."),
        (60, 200, "Call the service for every other code that it may show."),
    ]  # fmt: skip
    text = read(tmp_path, words, BESIDE)
    assert [line for line in text.splitlines() if line.startswith("|")] == [
        "| Code | Meaning |",
        "| --- | --- |",
        "| E1 | The water is too hot, close the valve and wait for a while. |",
        "| E2 E3 | The filter \\| is full. |",
    ]
    assert text.index("by a code on its") < text.index("| Code") < text.index("| E2") < text.index("Call the service")
    for _, _, said, *_ in words:
        for word in said.replace("|", "").split():
            assert word in text


def test_a_cell_over_two_rows_stands_in_the_first(tmp_path):
    lines = [(60, 100, 400, 100), (60, 120, 400, 120), (160, 150, 400, 150), (60, 180, 400, 180)]
    lines += [(x, 100, x, 180) for x in (60, 160, 400)]
    words = [(65, 105, "Part"), (165, 105, "Size"), (65, 140, "Screw"), (165, 130, "M3"), (165, 160, "M4")]
    text = read(tmp_path, words, lines)
    assert "| Screw | M3 |\n|  | M4 |" in text


def test_a_cell_over_two_columns_stands_in_the_first(tmp_path):
    lines = [(60, y, 400, y) for y in (100, 120, 150, 180)] + [(60, 100, 60, 180), (160, 120, 160, 180), (400, 100, 400, 180)]
    words = [(65, 105, "Sizes of all of the parts that come with the pump"), (65, 130, "Screw"), (165, 130, "M3")]
    words += [(65, 160, "Nut"), (165, 160, "M4")]
    text = read(tmp_path, words, lines)
    assert "| Sizes of all of the parts that come with the pump |  |\n| --- | --- |\n| Screw | M3 |" in text


def test_rows_that_only_the_columns_are_ruled_of(tmp_path):
    lines = [(60, 100, 400, 100), (60, 120, 400, 120), (60, 180, 400, 180), (160, 100, 160, 180)]
    words = [(65, 105, "Item"), (165, 105, "Price")]
    words += [(x, y, f"{name}{number}") for number, y in enumerate((125, 140, 155), 1) for x, name in ((65, "i"), (165, "p"))]
    assert "| i1 | p1 |\n| i2 | p2 |\n| i3 | p3 |" in read(tmp_path, words, lines)


def test_large_letters_are_headings_where_there_are_no_bookmarks(tmp_path):
    body = "It is written in small letters that go on for a while on this page."
    words = [(60, 40, "Pump", 24), (60, 90, "Care", 16), (60, 120, body), (60, 160, "Repair", 16), (60, 190, body)]
    headings = [line for line in read(tmp_path, words).splitlines() if line.startswith("#")]
    assert headings == ["# Pump", "## Care", "## Repair"]


def test_words_become_lines_and_paragraphs():
    words = [Word(40, 10, 20, 10, "world"), Word(10, 10.5, 25, 10, "Hello"), Word(60.5, 10, 3, 10, "!")]
    words += [Word(10, 60, 40, 10, "• one"), Word(10, 72, 40, 10, "more"), Word(10, 84, 40, 10, "• two")]
    words += [Word(10, 96, 40, 10, "run --now", True)]
    assert [line.text for line in lines_of(words)] == ["Hello world!", "• one", "more", "• two", "run --now"]
    assert paragraphs(words, frozenset()) == ["Hello world!", "- one more", "- two", "```\nrun --now\n```"]


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        (["a modi-", "fied file"], "a modified file"),
        (["apt-", "get update"], "apt-get update"),
        (["中文说明", "第二行"], "中文说明第二行"),
        (["soft\u00ad", "ware"], "software"),
    ],
)
def test_lines_are_joined(lines, text):
    assert join_lines(lines, frozenset({"modified"})) == text
