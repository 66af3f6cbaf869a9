"""Real books of Debian packages, held against their own HTML editions (books.py): headings, table rows, lost letters, speed.

Packages: debian-reference-en, debian-reference-zh-cn, developers-reference, maint-guide, debian-handbook, and
libreoffice-writer-nogui for the files that an office makes. What is not installed is skipped by name.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections import Counter
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

from luthier.documents.readers import pdf
from luthier.documents.readers.docx import read_docx
from luthier.documents.readers.pdf import read_pdf
from luthier.errors import DataError

from .books import SHARE, book, html_headings, html_rows, markdown_headings, markdown_rows, plain, share, title
from .pdf_files import file_of

pytestmark = pytest.mark.slow
REFERENCE = "debian-reference"
BOOKS = {
    "debian-reference.zh-cn": (REFERENCE, f"{REFERENCE}.zh-cn.pdf", "*.zh-cn.html"),
    "debian-reference.en": (REFERENCE, f"{REFERENCE}.en.pdf", "*.en.html"),
    "developers-reference": ("developers-reference", "developers-reference.pdf", "*.html"),
    "maint-guide": ("doc/maint-guide", "maint-guide.en.pdf", "html/*.en.html"),
    "maint-guide-zh-cn": ("doc/maint-guide-zh-cn", "maint-guide.zh-cn.pdf", "html/*.zh-cn.html"),
}
NO_PAGES_OF_A_BOOK = ("index", "genindex", "search", "developers-reference")


@cache
def editions(name: str) -> tuple[Path, list[Path]]:
    """The PDF and the HTML files of a book."""
    folder, file, pattern = BOOKS[name]
    pages = [page for page in book(folder, pattern) if not page.name.startswith(NO_PAGES_OF_A_BOOK)]
    if not (SHARE / folder / file).is_file() or not pages:
        pytest.skip(f"{SHARE / folder / file} is not installed")
    return SHARE / folder / file, pages


@pytest.mark.parametrize("name", BOOKS)
def test_headings_and_rows_with_bookmarks(name):
    file, pages = editions(name)
    text = read_pdf(file, {}).text
    assert share(html_headings(pages), markdown_headings(text)) >= 0.90
    if len(rows := html_rows(pages)) > 5:
        assert share(rows, markdown_rows(text)) >= 0.90


@pytest.mark.parametrize("name", BOOKS)
def test_headings_and_rows_without_bookmarks(name, monkeypatch):
    file, pages = editions(name)
    outline = pdf._outline
    monkeypatch.setattr(pdf, "_outline", lambda *given: ([], *outline(*given)[1:]))
    text = read_pdf(file, {}).text
    assert share(html_headings(pages), markdown_headings(text)) >= 0.90
    assert share(markdown_headings(text), html_headings(pages)) >= 0.75  # the pages before chapter 1 are not in the HTML
    if len(rows := html_rows(pages)) > 5:
        assert share(rows, markdown_rows(text)) >= 0.90


@pytest.mark.parametrize("name", BOOKS)
def test_hardly_a_letter_is_lost_but_running_heads(name):
    import pypdfium2

    file, _ = editions(name)
    document = pypdfium2.PdfDocument(file)
    raw = Counter("".join(plain(page.get_textpage().get_text_bounded()) for page in document))
    document.close()
    kept, repaired = read_pdf(file, {"repair": False}), read_pdf(file, {})
    assert (raw - Counter(plain(kept.text))).total() <= raw.total() / 2000
    heads = (raw - Counter(plain(repaired.text))).total()
    assert heads <= 40 * repaired.num_pages  # a running head has 20 to 40 letters


def test_a_table_heavy_book_is_read_at_a_hundred_pages_a_second():
    file, _ = editions("debian-reference.zh-cn")
    best = 9e9
    for _ in range(3):
        began = time.process_time()
        count = read_pdf(file, {}).num_pages
        best = min(best, time.process_time() - began)
    assert count / best >= 100


def test_a_book_of_pictures_is_called_a_scan(tmp_path):
    """Pages of a real book, rendered and put into a new file as pictures alone."""
    import pypdfium2

    file, _ = editions("maint-guide")
    document = pypdfium2.PdfDocument(file)
    pictures = [document[number].render(scale=1).to_pil().convert("L") for number in range(10, 14)]
    document.close()
    body = [b"<< /Type /Catalog /Pages 2 0 R >>"]
    body.append(b"<< /Type /Pages /Kids [%s] /Count 4 >>" % b" ".join(b"%d 0 R" % (3 + 3 * at) for at in range(4)))
    for at, picture in enumerate(pictures):
        size, data = picture.size, picture.tobytes()
        page = (
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 %d %d] /Resources << /XObject << /I %d 0 R >> >> /Contents %d 0 R >>"
        )
        body.append(page % (*size, 4 + 3 * at, 5 + 3 * at))
        kind = b"/Type /XObject /Subtype /Image /Width %d /Height %d /ColorSpace /DeviceGray /BitsPerComponent 8" % size
        body.append(b"<< %s /Length %d >>\nstream\n%s\nendstream" % (kind, len(data), data))
        draw = b"%d 0 0 %d 0 0 cm /I Do" % size
        body.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(draw), draw))
    (tmp_path / "scan.pdf").write_bytes(file_of(body))
    again = pypdfium2.PdfDocument(tmp_path / "scan.pdf")
    assert len(again) == 4 and again[0].render(scale=1).to_pil().convert("L").getextrema()[0] < 100  # there is ink on it
    again.close()
    with pytest.raises(DataError, match=r"scan\.pdf is a scan: 4 of 4 pages have no text"):
        read_pdf(tmp_path / "scan.pdf", {})


def office(folder: Path, source: Path, target: str, infilter: str = "") -> Path:
    """What LibreOffice makes of a file. target: "docx", or "pdf:filter:options"."""
    if not shutil.which("soffice"):
        pytest.skip("soffice is not installed (libreoffice-writer-nogui)")
    command = ["soffice", "--headless", f"-env:UserInstallation=file://{folder}/profile"]
    command += [f"--infilter={infilter}"] if infilter else []
    command += ["--convert-to", target, "--outdir", str(folder), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    made = folder / f"{source.stem}.{target.partition(':')[0]}"
    assert made.is_file(), done.stderr
    return made


NO_BOOKMARKS = 'pdf:writer_pdf_Export:{"ExportBookmarks":{"type":"boolean","value":"false"}}'


def one_page(files: list[Path], target: Path) -> Path:
    """The bodies of HTML files in one, without pictures, links and navigation."""
    parts = []
    for file in files:
        soup = BeautifulSoup(file.read_text(encoding="utf-8"), "html.parser")
        for tag in soup.select("img, script, style, .toc, .navheader, .navfooter, .docnav, #breadcrumbs, p[id=title]"):
            tag.decompose()
        for link in soup.find_all("a"):
            link.unwrap()
        parts.append(soup.body.decode_contents())
    target.write_text(f"<html><head><meta charset='utf-8'></head><body>{''.join(parts)}</body></html>", encoding="utf-8")
    return target


def handbook(language: str, count: int) -> list[Path]:
    files = book("doc", "debian-handbook", "html", language, "sect.*.html")
    return files[:count] or pytest.skip("debian-handbook is not installed")


def test_an_office_file_without_bookmarks(tmp_path):
    source = one_page(handbook("en-US", 40), tmp_path / "handbook.html")
    file = office(tmp_path, source, NO_BOOKMARKS, "HTML (StarWriter)")
    assert pdf._outline(file, 9999)[0] == []
    wanted = html_headings([source])
    boxes = BeautifulSoup(source.read_text(encoding="utf-8"), "html.parser").select("p.title")  # of asides and examples
    found = markdown_headings(read_pdf(file, {}).text)
    assert len(wanted) > 80
    assert share(wanted, found) >= 0.80
    assert share(found, wanted + [title(box.get_text()) for box in boxes]) >= 0.90


COLUMNS = """<?xml version="1.0" encoding="UTF-8"?>
<office:document xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0" office:version="1.3"
 xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0" xmlns:style="urn:oasis:names:tc:opendocument:xmlns:style:1.0"
 xmlns:fo="urn:oasis:names:tc:opendocument:xmlns:xsl-fo-compatible:1.0"
 office:mimetype="application/vnd.oasis.opendocument.text">
<office:styles>
 <style:style style:name="Standard" style:family="paragraph"><style:paragraph-properties fo:margin-bottom="6pt"/>
  <style:text-properties fo:font-size="9pt"/></style:style>
 <style:style style:name="Heading_20_1" style:display-name="Heading 1" style:family="paragraph">
  <style:text-properties fo:font-size="16pt" fo:font-weight="bold"/></style:style>
 <style:style style:name="Heading_20_2" style:display-name="Heading 2" style:family="paragraph">
  <style:text-properties fo:font-size="12pt" fo:font-weight="bold"/></style:style>
</office:styles>
<office:automatic-styles><style:page-layout style:name="P"><style:page-layout-properties fo:page-width="595pt"
 fo:page-height="842pt" fo:margin="50pt"><style:columns fo:column-count="2" fo:column-gap="24pt"/>
</style:page-layout-properties></style:page-layout></office:automatic-styles>
<office:master-styles><style:master-page style:name="Standard" style:page-layout-name="P"/></office:master-styles>
<office:body><office:text>{body}</office:text></office:body></office:document>"""


def test_two_columns_are_read_one_after_the_other(tmp_path):
    """Real text of a handbook set in two columns: headings are found, and paragraphs come whole and in their order."""
    from xml.sax.saxutils import escape

    body, headings, texts = [], [], []
    for file in handbook("en-US", 30):
        soup = BeautifulSoup(file.read_text(encoding="utf-8"), "html.parser")
        for tag in soup.select("h2, h3, div.para"):
            words = " ".join(tag.get_text().split())
            if tag.name != "div" and words:
                level = int(tag.name[1]) - 1
                headings.append(words)
                body.append(
                    f'<text:h text:style-name="Heading_20_{level}" text:outline-level="{level}">{escape(words)}</text:h>'
                )
            elif len(words) > 150 and not tag.find(["div", "pre", "table", "ul", "ol"]):
                texts.append(plain(words))
                body.append(f'<text:p text:style-name="Standard">{escape(words)}</text:p>')
    (tmp_path / "columns.fodt").write_text(COLUMNS.format(body="".join(body)), encoding="utf-8")
    parsed = read_pdf(office(tmp_path, tmp_path / "columns.fodt", NO_BOOKMARKS), {})
    found = markdown_headings(parsed.text)
    assert parsed.num_pages > 5 and len(headings) > 30 and len(texts) > 60
    assert share([title(words) for words in headings], found) >= 0.80
    said = plain(parsed.text)
    places = [said.find(text[:40]) for text in texts]
    assert sum(place >= 0 for place in places) / len(places) >= 0.95
    kept = [place for place in places if place >= 0]
    assert sum(a < b for a, b in pairwise(kept)) / (len(kept) - 1) >= 0.95  # in the order in which they were written
    whole = sum(text in said for text in texts)
    assert whole / len(texts) >= 0.85  # a paragraph that goes on in the next column or page is one


@pytest.mark.parametrize("language", ["zh-cn", "en"])
def test_a_word_file_with_tables(tmp_path, language):
    chapters = book(REFERENCE, f"ch0[12].{language}.html") or pytest.skip(f"{REFERENCE}-{language} is not installed")
    source = one_page(chapters, tmp_path / "reference.html")
    text = read_docx(office(tmp_path, source, "docx:MS Word 2007 XML", "HTML (StarWriter)"), {}).text
    wanted, rows = html_headings([source]), html_rows([source])
    assert len(wanted) > 60 and len(rows) > 300
    assert share(wanted, markdown_headings(text)) >= 0.95
    assert share(rows, markdown_rows(text)) >= 0.95
