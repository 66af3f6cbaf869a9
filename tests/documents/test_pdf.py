"""The PDF reader: repair of headings, running heads and fences on pages written here; real files made by matplotlib."""

import io

import pytest

from luthier.documents.readers.pdf import join_pages, read_pdf
from luthier.documents.readers.pdf_repair import repair_pages
from luthier.documents.readers.pdf_sizes import Bookmark
from luthier.errors import DataError

from .pdf_files import locked_pdf, text_pdf


def pages_of(*pages: str, marks: tuple[Bookmark, ...] = ()) -> tuple[list[str], list[str]]:
    return repair_pages([page.strip("\n") for page in pages], marks)


def test_bookmarks_make_headings_and_others_become_bold():
    page = """
## NOTE

| 1.1 | Getting started |
|---|---|
| Press the button | and wait. |

**2.3** Care and cleaning Wipe it with a cloth.

```
copyright
```

# Long title that
is on two lines
"""
    marks = (
        Bookmark("Getting started", 2, 0), Bookmark("Care and cleaning", 3, 0), Bookmark("copyright", 2, 0),
        Bookmark("Long title that is on two lines", 1, 0), Bookmark("Nowhere", 1, 0),
    )  # fmt: skip
    [text], notes = pages_of(page, marks=marks)
    lines = [line for line in text.splitlines() if line]
    assert lines == [
        "**NOTE**", "## 1.1 Getting started", "Press the button and wait.", "### 2.3 Care and cleaning",
        "Wipe it with a cloth.",
        "## copyright", "# Long title that is on two lines",
    ]  # fmt: skip
    assert notes == ["headings from bookmarks: 4 of 5 found on their pages"]


def test_without_bookmarks_numbers_make_headings():
    page = "1.2 Safety\n\nRead this.\n\n**2.1.3** Cables\n\n第三章 总则\n\n第十二条 用户应当\n\n"
    page += "3.5 is a number in a sentence.\n\n1.4 Contents ..... 12"
    [text], _ = pages_of(page)
    headings = [line for line in text.splitlines() if line.startswith("#")]
    assert headings == ["## 1.2 Safety", "### 2.1.3 Cables", "# 第三章 总则", "### 第十二条 用户应当"]


def test_labels_of_boxes_are_no_headings():
    page = "## Care\n\n##### Note\n\nWipe it.\n\n## **警告：**\n\n不要打开。\n\n```\n# Note\n```\n\n## Note on cables\n\nNone."
    [text], _ = pages_of(page)
    assert text == page.replace("##### Note\n", "**Note**\n").replace("## **警告：**", "**警告：**")


def test_running_heads_go_and_words_stay():
    words = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    pages, notes = pages_of(
        *(f"Pump guide 2024\n\nText {word}.\n\nMore {word}.\n\nPage {n} of 9" for n, word in enumerate(words, 1))
    )
    assert pages[3].split() == ["Text", "four.", "More", "four."]
    assert notes[0].startswith("18 running head")


def test_lines_of_forms_are_no_running_heads(tmp_path):
    names = ("Ada", "Ben", "Cleo", "Dan", "Eve", "Fay", "Gus", "Hal")
    forms = [
        f"Order {n * 7 % 13}: {n * n} pumps\n\nThe customer {n * 31 % 17} wants them on day {n * 5 % 28}."
        f"\n\n{name} took the order.\n\nAsk {name} for more."
        for n, name in enumerate(names, 1)
    ]
    pages, notes = pages_of(*forms)
    assert pages == forms and not notes
    lines = [[f"Part {n} of it", f"It has {n * n} screws.", "More words follow here."] for n in range(2000, 2040)]
    (tmp_path / "forms.pdf").write_bytes(text_pdf(lines))
    text = read_pdf(tmp_path / "forms.pdf", {}).text  # liteparse itself would leave out all but the last line
    assert all(f"Part {n} of it" in text and f"has {n * n} screws" in text for n in range(2000, 2040))


def test_heads_that_change_by_chapter_go_with_the_number_of_their_page():
    titles = ("Chapter 1. Care", "Chapter 1. Care", "Chapter 2. Use")
    words = ("one", "two", "six")
    pages, _ = pages_of(
        *(f"{n + 4} {title}\n\nIt says {word}.\n\nAnd so on, {word}." for n, (title, word) in enumerate(zip(titles, words)))
    )
    assert [page.split()[0] for page in pages] == ["It", "It", "6"]  # the last one stands beside one number only
    text = "Pump guide for all 17 / 57 they install it by hand and go on."
    pages, _ = pages_of(*(f"Pump guide for all {n} / 57\n\nWords {n * n}.\n\nMore {n * 3}." for n in range(14, 17)), text)
    assert pages[3] == "they install it by hand and go on."


def test_sentences_over_a_page_break_are_made_whole():
    text, starts = join_pages(["It is a long sentence that goes", "on here.\n\n# Next", "", "Last page."])
    assert text == "It is a long sentence that goes on here.\n\n# Next\n\nLast page.\n"
    assert text[starts[1][0] :].startswith("on here.") and text[starts[3][0] :].startswith("Last page.")
    assert [page for _, page in starts] == [1, 2, 3, 4]


def pdf_of(pages: list[str], picture: bool = False) -> bytes:
    import matplotlib

    matplotlib.use("pdf")
    from matplotlib.backends.backend_pdf import PdfPages
    from matplotlib.figure import Figure

    data = io.BytesIO()
    with PdfPages(data) as file:
        for page in pages:
            figure = Figure(figsize=(6, 8))
            if picture:
                figure.add_axes((0, 0, 1, 1)).imshow([[0, 1], [1, 0]])
                figure.axes[0].axis("off")
            for number, line in enumerate(page.splitlines()):
                figure.text(0.1, 0.9 - 0.05 * number, line, fontsize=18 if line[:1].isdigit() else 11)
            file.savefig(figure)
    return data.getvalue()


def test_a_real_file_has_text_and_pages(tmp_path):
    (tmp_path / "pump.pdf").write_bytes(
        pdf_of(["1.1 Safety\nKeep it dry at all times.", "1.2 Cables\nUse the red cable first."])
    )
    parsed = read_pdf(tmp_path / "pump.pdf", {})
    assert parsed.num_pages == 2 and [page for _, page in parsed.pages] == [1, 2]
    assert "Keep it dry at all times." in parsed.text and "red cable" in parsed.text[parsed.pages[1][0] :]


def test_a_scan_is_named_as_such(tmp_path):
    (tmp_path / "scan.pdf").write_bytes(pdf_of(["", "", ""], picture=True))
    with pytest.raises(DataError, match=r"scan\.pdf is a scan: 3 of 3 pages"):
        read_pdf(tmp_path / "scan.pdf", {})


def test_some_pages_without_text_are_noted(tmp_path):
    (tmp_path / "mixed.pdf").write_bytes(pdf_of(["Words on the first page here.", "", "Words on the third page here."]))
    assert "1 page without text (pictures, or scanned): 2" in read_pdf(tmp_path / "mixed.pdf", {}).notes


def test_too_many_pages_are_refused(tmp_path):
    (tmp_path / "long.pdf").write_bytes(pdf_of(["Words on the page here."] * 3))
    with pytest.raises(DataError, match="3 pages, more than 2"):
        read_pdf(tmp_path / "long.pdf", {"max_pages": 2})


def test_a_password_is_said(tmp_path):
    (tmp_path / "locked.pdf").write_bytes(locked_pdf())
    with pytest.raises(DataError, match=r"locked\.pdf is protected by a password"):
        read_pdf(tmp_path / "locked.pdf", {})
    (tmp_path / "zero.pdf").write_bytes(text_pdf([]))  # PDFium itself would name the reason of the file before
    with pytest.raises(DataError, match=r"zero\.pdf has no pages"):
        read_pdf(tmp_path / "zero.pdf", {})
