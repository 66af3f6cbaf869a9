"""Every reader on a file made here, and what bad files get: a sentence with their name, while the rest goes on."""

import io
import json
import sys
import zipfile

import openpyxl
import pytest
from markdown_it import MarkdownIt

from luthier.documents.readers import READERS, SUFFIXES
from luthier.documents.readers.html import read_html
from luthier.documents.readers.sandbox import Sandbox
from luthier.errors import DataError

W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
A = 'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main"'
P = 'xmlns:p="http://schemas.openxmlformats.org/presentationml/2006/main"'
R = 'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"'


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox(timeout_s=20, memory_mb=1024) as reader:
        yield reader


def archive(files: dict[str, str]) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as file:
        for name, text in files.items():
            file.writestr(name, text)
    return data.getvalue()


def docx() -> bytes:
    def paragraph(text: str, style: str = "") -> str:
        properties = f'<w:pPr><w:pStyle w:val="{style}"/></w:pPr>' if style else ""
        return f"<w:p>{properties}<w:r><w:t>{text}</w:t></w:r></w:p>"

    cells = "".join(f"<w:tc><w:p><w:r><w:t>{text}</w:t></w:r></w:p></w:tc>" for text in ("Code", "Meaning"))
    body = paragraph("Device guide", "Title") + paragraph("First start", "Heading1") + paragraph("Press the button.")
    body += f"<w:tbl><w:tr>{cells}</w:tr><w:tr>{cells.replace('Code', 'E1').replace('Meaning', 'Too hot')}</w:tr></w:tbl>"
    names = {"Title": "Title", "Heading1": "heading 1"}
    styles = "".join(
        f'<w:style w:type="paragraph" w:styleId="{id}"><w:name w:val="{name}"/></w:style>' for id, name in names.items()
    )
    kinds = '<Default Extension="xml" ContentType="application/xml"/>'
    main = "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"
    kinds += f'<Override PartName="/word/document.xml" ContentType="{main}"/>'
    base = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"
    return archive(
        {
            "[Content_Types].xml": f'<Types xmlns="{package}/content-types">{kinds}</Types>',
            "_rels/.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="r1" Type="{base}/officeDocument" '
            'Target="word/document.xml"/></Relationships>',
            "word/_rels/document.xml.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="r2" '
            f'Type="{base}/styles" Target="styles.xml"/></Relationships>',
            "word/styles.xml": f"<w:styles {W}>{styles}</w:styles>",
            "word/document.xml": f"<w:document {W}><w:body>{body}</w:body></w:document>",
        }
    )


def pptx() -> bytes:
    def shape(text: str, kind: str) -> str:
        lines = "".join(f"<a:p><a:r><a:t>{line}</a:t></a:r></a:p>" for line in text.split("|"))
        return f'<p:sp><p:nvSpPr><p:nvPr><p:ph type="{kind}"/></p:nvPr></p:nvSpPr><p:txBody>{lines}</p:txBody></p:sp>'

    relation = "http://schemas.openxmlformats.org/package/2006/relationships"
    entries = "".join(f'<Relationship Id="r{n}" Target="slides/slide{n}.xml"/>' for n in (1, 2))
    files = {
        "ppt/presentation.xml": f'<p:presentation {P} {R}><p:sldId r:id="r2"/><p:sldId r:id="r1"/></p:presentation>',
        "ppt/_rels/presentation.xml.rels": f'<Relationships xmlns="{relation}">{entries}</Relationships>',
    }
    for number, (title, body) in enumerate((("Second", "end"), ("First", "one|two")), start=1):
        files[f"ppt/slides/slide{number}.xml"] = (
            f"<p:sld {P} {A}>{shape(title, 'title')}{shape(body, 'body')}{shape('7', 'sldNum')}</p:sld>"
        )
    return archive(files)


def epub() -> bytes:
    container = '<container xmlns="urn:x"><rootfiles><rootfile full-path="O/book.opf"/></rootfiles></container>'
    items = '<item id="a" href="a.xhtml"/><item id="b" href="b.xhtml"/>'
    package = (
        f'<package xmlns="urn:o" xmlns:dc="urn:d"><metadata><dc:title>Sea</dc:title></metadata><manifest>{items}</manifest>'
    )
    package += '<spine><itemref idref="b"/><itemref idref="a"/></spine></package>'
    pages = {f"O/{n}.xhtml": f"<html><body><h1>Part {n}</h1><p>Words of {n}.</p></body></html>" for n in "ab"}
    return archive({"mimetype": "application/epub+zip", "META-INF/container.xml": container, "O/book.opf": package, **pages})


def xlsx() -> bytes:
    book = openpyxl.Workbook()
    book.active.title = "Prices"
    for line in (["Item", "Price"], ["Cable", 3.0], [None, None], ["Plug", 2.5]):
        book.active.append(line)
    data = io.BytesIO()
    book.save(data)
    return data.getvalue()


OPENAPI = {
    "openapi": "3.0.0",
    "info": {"title": "Shop", "description": "Sells."},
    "paths": {
        "/items/{id}": {
            "get": {
                "summary": "One item",
                "parameters": [
                    {"name": "id", "in": "path", "required": True, "schema": {"type": "integer"}, "description": "its number"}
                ],
                "responses": {"404": {"description": "none"}},
            }
        }
    },
}
MINERU = [
    {"type": "text", "text": "Pump", "text_level": 1, "page_idx": 0},
    {"type": "header", "text": "ACME", "page_idx": 0},
    {"type": "text", "text": "It pumps.", "page_idx": 0},
    {"type": "table", "table_body": "<table><tr><td>a</td><td>b</td></tr><tr><td>1</td><td>2</td></tr></table>", "page_idx": 2},
]
HTML = "<html><head><title>T</title><script>x()</script></head><body><nav>menu</nav><h2>Head</h2>"
HTML += "<ul><li>a<ul><li>b</li></ul></li></ul>"
HTML += "<table><tr><th>k</th></tr><tr><td>v</td></tr></table><pre><code class='language-sh'>ls # x</code></pre></body></html>"
CHAT = """2024-05-01 10:00 Kim: My pump is loud
2024-05-01 10:01 Support: Tighten the screw.
It helps.
2024-05-01 12:00 Lee: Hi
2024-05-01 12:01 Support: Hello"""
FILES = {
    "guide.md": (b"# T\r\n\r\nWords\r\n", "markdown", ["# T\r\n\r\nWords\r\n"]),
    "notes.txt": ("中文说明，第一行。\n第二行也是中文。".encode("gb18030"), "text", ["中文说明，第一行。\n第二行也是中文。"]),
    "page.html": (HTML.encode(), "html", ["## Head", "- a\n  - b", "| v |", "```sh\nls # x\n```"]),
    "word.docx": (docx(), "docx", ["# Device guide", "# First start", "Press the button.", "| E1 | Too hot |"]),
    "table.csv": ("问题;答案\n怎么装;双击即可\n".encode(), "csv", ["| 问题 | 答案 |", "| 怎么装 | 双击即可 |"]),
    "prices.xlsx": (xlsx(), "xlsx", ["## Prices", "| Cable | 3 |", "| Plug | 2.5 |"]),
    "talk.pptx": (pptx(), "pptx", ["## First\n\n- one\n- two", "## Second\n\nend"]),
    "sea.epub": (epub(), "epub", ["# Part b\n\nWords of b.\n\n# Part a"]),
    "api.json": (json.dumps(OPENAPI).encode(), "openapi",
                 ["## GET /items/{id} One item", "| id | path | integer | yes | its number |", "| 404 | none |"]),
    "pump_content_list.json": (json.dumps(MINERU).encode(), "mineru", ["# Pump\n\nIt pumps.", "| 1 | 2 |"]),
    "tool.py": (b"def run():\n    return 1\n", "code", ["# tool.py", "```py\ndef run():"]),
    "chat.txt": (CHAT.encode(), "chat",
                 ["**User** (Kim): My pump is loud", "**Assistant** (Support): Tighten the screw. It helps.", "12:00)"]),
}  # fmt: skip


def test_a_bar_in_a_cell_does_not_end_it(tmp_path):
    """By markdown-it; a browser shows two cells a row."""
    table = "<table><tr><th>a|b</th><th>what</th></tr><tr><td><code>ps | less</code></td><td>all, or | none</td></tr></table>"
    (tmp_path / "bars.html").write_text(table)
    text = read_html(tmp_path / "bars.html", {}).text
    cells = [token.content for token in MarkdownIt("commonmark").enable("table").parse(text) if token.type == "inline"]
    assert cells == ["a|b", "what", "`ps | less`", "all, or | none"]


@pytest.mark.parametrize("name", FILES)
def test_a_reader_gives_text(sandbox, tmp_path, name):
    data, kind, parts = FILES[name]
    (tmp_path / name).write_bytes(data)
    parsed = sandbox.read(tmp_path / name, name, {"wanted": "chat" if kind == "chat" else ""})
    assert parsed.kind == kind
    for part in parts:
        assert part in parsed.text


def test_every_kind_is_tried_and_has_a_reader():
    assert {kind for _, kind, _ in FILES.values()} | {"pdf"} == set(READERS)
    assert set(SUFFIXES.values()) - {"data"} <= set(READERS)


def test_pages_of_slides_and_of_mineru(sandbox, tmp_path):
    for name, pages in (("talk.pptx", (1, 2)), ("pump_content_list.json", (1, 3))):
        (tmp_path / name).write_bytes(FILES[name][0])
        parsed = sandbox.read(tmp_path / name, name)
        assert tuple(page for _, page in parsed.pages) == pages
        assert parsed.text[parsed.pages[1][0] :].startswith(("## Second", "| a |"))


def bomb() -> bytes:
    return archive({"word/document.xml": "0" * (300 << 20)})


OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
BAD = {
    "empty.md": (b"", "is empty"),
    "blank.pdf": (b"\0\0  \n", "is empty"),
    "fake.pdf": (b"this is no pdf at all", "is no PDF file"),
    "broken.pdf": (b"%PDF-1.7\nrubbish", "broken PDF"),
    "broken.docx": (b"PK\x03\x04rubbish", "broken archive"),
    "old.doc": (OLE + b"\0" * 600, "old binary Office"),
    "locked.docx": (OLE + b"\0" * 600 + "EncryptedPackage".encode("utf-16-le"), "protected by a password"),
    "bomb.docx": (bomb, "zip bomb"),
    "photo.md": (b"\x89PNG\r\n\x1a\n" + b"\0" * 64, "is an image"),
    "binary.txt": (bytes(range(256)) * 40, "no text file"),
    "other.zip.docx": (archive({"a.bin": "x"}), "something else"),
    "api.yaml": (b"openapi: 3.0.0\ninfo: {}\n", "no paths"),
    "chat.jsonl": (b'{"x": 1}\n', "no line with a speaker"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_said_by_name(sandbox, tmp_path, name):
    data, words = BAD[name]
    (tmp_path / name).write_bytes(data() if callable(data) else data)
    with pytest.raises(DataError, match=words) as error:
        sandbox.read(tmp_path / name, name)
    assert name.split(".")[0] in str(error.value)


def test_what_a_chat_log_holds_beside_talks_is_counted(sandbox, tmp_path):
    (tmp_path / "chat.txt").write_text(
        "Log of May\nSupport: Welcome\nUser: Is it loud?\nSupport: No.\nUser: Thanks\nUser: Bye\n"
    )
    parsed = sandbox.read(tmp_path / "chat.txt", "chat.txt", {"wanted": "chat"})
    assert "**User** (User): Is it loud?\n\n**Assistant** (Support): No." in parsed.text
    assert parsed.notes == (
        "1 line before the first speaker left out",
        "3 lines outside of question and answer left out",
    )
    talk = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}, {"role": "user"}, "noise"]
    (tmp_path / "chat.jsonl").write_text("\n".join(map(json.dumps, talk)))
    parsed = sandbox.read(tmp_path / "chat.jsonl", "chat.jsonl")
    assert parsed.notes == ("1 record without words left out", "1 record that is no object left out")
    (tmp_path / "chat.jsonl").write_text('{"role": "user", "content": "Hi"}\n\n{"role": ')
    with pytest.raises(DataError, match=r"chat\.jsonl line 3 is no valid JSON"):
        sandbox.read(tmp_path / "chat.jsonl", "chat.jsonl")


def test_a_wrong_extension_is_read_and_said(sandbox, tmp_path):
    (tmp_path / "report.pdf").write_bytes(docx())
    parsed = sandbox.read(tmp_path / "report.pdf", "report.pdf")
    assert parsed.kind == "docx" and "report.pdf is DOCX" in parsed.notes[0]


HANG = """
import sys, json, time, os
for line in sys.stdin:
    name = json.loads(line)["name"]
    if "slow" in name: time.sleep(60)
    if "crash" in name: os.kill(os.getpid(), 11)
    if "fat" in name: held = bytearray(3 << 30)
"""


def test_a_reader_that_hangs_or_crashes_costs_one_file(tmp_path, monkeypatch):
    (tmp_path / "reader_that_hangs.py").write_text(HANG)
    (tmp_path / "good.md").write_text("# Good\n\nwords")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with Sandbox(timeout_s=1.5, memory_mb=512) as reader:
        for name, words in (("slow.md", "not read within"), ("crash.md", "crashed on crash.md")):
            monkeypatch.setattr("luthier.documents.readers.sandbox.MODULE", "reader_that_hangs")
            with pytest.raises(DataError, match=words):
                reader.read(tmp_path / "good.md", name)
            reader._stop()
        monkeypatch.setattr("luthier.documents.readers.sandbox.MODULE", "luthier.documents.readers.worker")
        assert reader.read(tmp_path / "good.md", "good.md").title == "Good"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the system limits memory on Linux")
def test_a_file_may_not_take_all_memory(tmp_path):
    (tmp_path / "big.txt").write_bytes(b"words and words\n" * (20 << 20))
    with Sandbox(timeout_s=20, memory_mb=256) as reader, pytest.raises(DataError, match=r"big\.txt"):
        reader.read(tmp_path / "big.txt", "big.txt")
