"""What users hand in that cannot work: each is said with file, page or unit, and the rest goes on to a dataset."""

import json

import pytest

from luthier.cli import main
from luthier.documents.project import Project, add_files
from luthier.documents.readers.sandbox import Sandbox
from luthier.errors import ConfigError, EngineError
from luthier.workflows import documents
from luthier.workflows.documents_status import status_of

from .fake_server import FakeServer, Fault, completion
from .pdf_files import locked_pdf, text_pdf
from .test_readers import OLE, archive, docx, xlsx

GOOD = (
    "# Pump\n\n## How to start the pump\n\nPress the green button.\n\n## How to stop the pump\n\nPress the red button twice.\n"
)
SCAN = text_pdf([[], [], []])
ENCRYPTED_ZIP = bytearray(archive({"word/document.xml": "x" * 50}))
ENCRYPTED_ZIP[6] |= 1  # the bit that says so, in the entry and in the table of contents
ENCRYPTED_ZIP[ENCRYPTED_ZIP.index(b"PK\x01\x02") + 8] |= 1


def bomb(name: str) -> bytes:
    return archive({name: "0" * (70 << 20)})


FILES = {
    "encrypted.pdf": (locked_pdf, "protected by a password"),
    "password.docx": (lambda: OLE + b"\0" * 600 + "EncryptedPackage".encode("utf-16-le"), "protected by a password"),
    "password.zip.docx": (lambda: bytes(ENCRYPTED_ZIP), "password"),
    "broken.pdf": (lambda: b"%PDF-1.7\nrubbish", "broken PDF file"),
    "cut.pdf": (lambda: text_pdf([["words"]] * 9)[:700], "broken PDF file"),
    "broken.docx": (lambda: docx()[:300], "broken archive"),
    "broken.xlsx": (lambda: archive({"xl/workbook.xml": "<no", "[Content_Types].xml": "<no"}), "broken Excel file"),
    "broken.epub": (lambda: archive({"mimetype": "application/epub+zip"}), "EPUB|epub"),
    "empty.pdf": (lambda: b"", "is empty"),
    "empty.md": (lambda: b" \n\n ", "is empty"),
    "zero.pdf": (lambda: text_pdf([]), "no pages"),
    "scan.pdf": (lambda: SCAN, "is a scan: 3 of 3 pages"),
    "bomb.docx": (lambda: bomb("word/document.xml"), "zip bomb"),
    "bomb.xlsx": (lambda: bomb("xl/worksheets/sheet1.xml"), "zip bomb"),
    "picture.pdf": (lambda: b"\x89PNG\r\n\x1a\n" + b"\0" * 64, "is an image"),
    "program.md": (lambda: b"\x7fELF" + b"\0" * 64, "is a program"),
    "text.pdf": (lambda: b"only words, whatever the name says", "is no PDF file"),
}


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    """What a run over all bad files and a good one says, and where it ended."""
    folder = tmp_path_factory.mktemp("bad")
    for name, (data, _) in FILES.items():
        (folder / name).write_bytes(data())
    (folder / "good.md").write_text(GOOD)
    with Project.create(folder / "p", "chunk: {max_chars: 300, min_chars: 0}\nsplit: {val: 0, test: 0}\n") as project:
        _, notes = add_files(project, [folder / name for name in [*FILES, "good.md"]])
        assert not notes
        said: list[str] = []
        exported = documents.run(project, said.append)
        return said, exported, status_of(project)


@pytest.mark.parametrize("name", FILES)
def test_a_bad_file_is_said_by_its_name(lines, name):
    said = [line for line in "\n".join(lines[0]).splitlines() if f"not read: {name} " in line]
    pattern = FILES[name][1]
    assert len(said) == 1 and any(words in said[0] for words in pattern.split("|")), said
    assert any(problem.startswith(name) for problem in lines[2].problems)


def test_the_good_one_beside_them_becomes_rows(lines):
    said, exported, status = lines
    assert f"1 documents read, 0 up to date, {len(FILES)} failed" in said[0]
    assert exported.counts == {"train": 2} and status.documents == {"failed": len(FILES), "parsed": 1}
    card = (exported.folder / "README.md").read_text()
    assert all(f"- {name} " in card for name in FILES)


def test_nothing_but_bad_files_is_an_error_that_names_them(tmp_path, capsys):
    (tmp_path / "zero.pdf").write_bytes(text_pdf([]))
    assert main(["documents", "new", str(tmp_path / "p"), "--add", str(tmp_path / "zero.pdf")]) == 0
    assert main(["documents", "run", str(tmp_path / "p")]) == 2
    assert "none of the documents could be read" in (error := capsys.readouterr().err) and "zero.pdf" in error


def test_wrong_names_are_read_by_their_bytes_and_said(tmp_path):
    for name, data, kind in (
        ("a.pdf", docx(), "docx"),
        ("b.docx", xlsx(), "xlsx"),
        ("c.md", text_pdf([["Some words here."]]), "pdf"),
    ):
        (tmp_path / name).write_bytes(data)
        with Sandbox(timeout_s=30) as sandbox:
            parsed = sandbox.read(tmp_path / name, name)
        assert parsed.kind == kind and f"{name} is {kind.upper()}, whatever its name says" in parsed.notes


def test_two_thousand_pages_are_read_within_the_limits(tmp_path):
    pages = [[f"Chapter about number {n}", "", f"It has {n * 7} screws.", f"It weighs {n * 3} grams."] for n in range(1, 2001)]
    (tmp_path / "long.pdf").write_bytes(text_pdf(pages))
    with Project.create(tmp_path / "p", "parse: {timeout_s: 60, memory_mb: 1024}\n") as project:
        add_files(project, [tmp_path / "long.pdf"])
        documents.parse(project)
        row = project.store.one("SELECT * FROM document")
        text = project.text(row["text_sha"])
        assert row["num_pages"] == 2000 and project.store.value("SELECT count(*) FROM page") == 2000
        for n in range(1, 2001):
            assert f"It has {n * 7} screws." in text
        start = project.store.value("SELECT start FROM page WHERE page=1500")
        assert text[start:].startswith("Chapter about number 1500")


MODEL = """
chunk: {{max_chars: 300, min_chars: 0}}
split: {{val: 0, test: 0}}
ask: {{generator: model, per_1000_chars: 1, max_per_chunk: 1, unanswerable: 0, {ask}}}
judge: {{enabled: false}}
endpoint: {{base_url: "{url}", model: fake, max_attempts: 2, timeout_s: 5}}
"""


def project_with(folder, url: str, ask: str = "") -> Project:
    (folder / "good.md").write_text(GOOD)
    project = Project.create(folder / "p", MODEL.format(url=url, ask=ask))
    add_files(project, [folder / "good.md"])
    return project


def refuses(request, again, number):
    return Fault(status=401, body=b'{"error": {"message": "no such key"}}')


def prose(request, again, number):
    return Fault(body=completion(request, content="I would rather talk about the weather."))


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (None, "connection|ConnectError"),  # down
        (refuses, "does not accept the API key"),
        (prose, "not_json"),
    ],
)
def test_an_endpoint_that_is_no_use_is_said_and_what_was_read_stays(tmp_path, monkeypatch, script, words):
    monkeypatch.setattr("luthier.documents.jobs.engine.FIRST_WAIT_S", 0.001)
    with FakeServer(script or refuses) as server:
        if script is None:
            server.http.shutdown()
            server.http.server_close()
            server.http.shutdown = server.http.server_close = lambda: None
        with project_with(tmp_path, server.url) as project:
            with pytest.raises(EngineError) as error:
                documents.run(project, lambda line: None)
            assert any(word in str(error.value) for word in words.split("|"))
            assert project.store.value("SELECT count(*) FROM chunk WHERE state='current'") == 2
            raw = project.store.value("SELECT count(*) FROM llm_call")
            assert raw == (4 if script is prose else 0)  # asked twice each, and the raw answers are kept
            units = project.store.all("SELECT * FROM unit WHERE stage='ask'")
            assert len(units) == 2 and all(row["subject"] for row in units)


def test_one_unit_in_prose_is_said_and_the_others_go_on(tmp_path):
    def script(request, again, number):
        return prose(request, again, number) if "red button" in json.dumps(request) else None

    said: list[str] = []
    with FakeServer(script) as server, project_with(tmp_path, server.url) as project:
        exported = documents.run(project, said.append)
        assert exported.counts == {"train": 1} and any("not_json 1" in line for line in said)
        [failed] = project.store.all("SELECT * FROM unit WHERE state='failed'")
        assert "asked twice" in failed["error"] and failed["subject"]
        assert any(job["state"] == "done with failures" and job["failed"] == 1 for job in status_of(project).jobs)


def test_unknown_slots_are_said_before_a_call_costs_anything(tmp_path):
    ask = 'prompts: {en: "Ask {{count}} about {{txt}} and {{text}}"}'
    with FakeServer() as server, project_with(tmp_path, server.url, ask) as project:
        with pytest.raises(ConfigError, match=r"unknown slot \{\{txt\}\}"):
            documents.run(project, lambda line: None)
        assert server.total == 0 and project.store.value("SELECT state FROM document") == "parsed"
