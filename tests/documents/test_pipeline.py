"""The whole way without a model, on a real manual in Chinese and English: versions, provenance, new versions of documents,
leaks."""

import json
import re

import pytest

from luthier.cli import main
from luthier.config import Config
from luthier.datasets.read import read_samples
from luthier.documents import review
from luthier.documents.project import Project, add_files
from luthier.documents.prompts import prompt_of
from luthier.documents.recipe import load_recipe, make_recipe
from luthier.documents.steps.chunk import cleaning_of, merge_chunks, split_chunk
from luthier.errors import ConfigError, DataError
from luthier.types import Conversation, Preference, Text
from luthier.workflows import documents
from luthier.workflows.documents_status import status_of


@pytest.fixture(scope="module")
def manual(tmp_path_factory):
    from tests.conftest import ROOT

    source = ROOT.parent / "shared" / "assets" / "data" / "seafile-manual"
    if not source.is_dir():
        pytest.skip("the test material is not here")
    with Project.create(tmp_path_factory.mktemp("documents") / "manual") as project:
        add_files(project, [source / "zh", source / "en"])
        yield project, documents.run(project, lambda line: None)


def provenance(exported) -> list[dict]:
    return [json.loads(line) for line in (exported.folder / "provenance.jsonl").read_text(encoding="utf-8").splitlines()]


def test_both_languages_end_in_a_dataset(manual):
    _, exported = manual
    assert exported.counts["train"] > 150 and exported.counts["val"] > 3 and exported.counts["test"] > 3
    rows = [json.loads(line) for line in (exported.folder / "train.jsonl").read_text(encoding="utf-8").splitlines()]
    chinese = sum(any("\u4e00" <= char <= "\u9fff" for char in row["instruction"]) for row in rows)
    assert chinese > 40 and len(rows) - chinese > 80
    card = (exported.folder / "README.md").read_text(encoding="utf-8")
    assert "No model was used" in card and "## What was left out" in card


def test_every_row_leads_to_its_characters(manual, assets):
    project, exported = manual
    rows = provenance(exported)
    assert len(rows) == sum(exported.counts.values())
    for row in rows:
        text = project.text(row["text"])
        original = (assets / "data" / "seafile-manual" / row["document"]).read_bytes()
        assert text.encode() == original  # Markdown is kept byte for byte
        assert 0 <= row["start"] < row["end"] <= len(text) and row["quotes"]
        for quote in row["quotes"]:
            assert quote["match"] == "exact" and row["start"] <= quote["start"] < quote["end"] <= row["end"]


def test_answers_stand_in_their_quotes(manual):
    """Word for word, but for pictures, the targets of links and white space."""
    project, exported = manual

    def words(text: str) -> str:
        text = re.sub(r"<!--.*?-->|!\[[^\]]*\]\([^)]*\)|<img[^>]*>", "", text, flags=re.DOTALL)
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
        return re.sub(r"[\s\u200b]+|\{#[\w-]+\}", "", text)

    lines = []
    for split in exported.counts:
        lines += [json.loads(line) for line in (exported.folder / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()]
    for line, row in zip(lines, provenance(exported)):
        if row["type"] != "table":
            source = "".join(project.text(row["text"])[quote["start"] : quote["end"]] for quote in row["quotes"])
            assert words(line["output"]) in words(source)


def test_no_document_stands_in_two_splits(manual):
    _, exported = manual
    places: dict[str, set[str]] = {}
    for row in provenance(exported):
        places.setdefault(row["document"], set()).add(row["split"])
    assert all(len(splits) == 1 for splits in places.values())


def test_a_second_run_makes_nothing_new(manual):
    project, exported = manual
    again = documents.run(project, lambda line: None)
    assert again.version == exported.version and not again.is_new


@pytest.mark.parametrize(("form", "wants"), [("sharegpt", Conversation), ("openai", Conversation), ("text", Text)])
def test_other_formats_are_read_by_the_trainer(manual, tmp_path, form, wants):
    project, _ = manual
    part = project.recipe.export.model_copy(update={"format": form})
    exported = documents.export(project, part, tmp_path)
    samples = list(read_samples(Config(dataset=["manual"], dataset_dir=str(tmp_path)), wants=wants))
    assert len(samples) == exported.counts["train"]
    assert exported.registered_in == [tmp_path / "dataset_info.json"]


def test_a_foreign_entry_is_not_overwritten(manual, tmp_path):
    project, _ = manual
    (tmp_path / "dataset_info.json").write_text('{"manual": {"file_name": "mine.json"}}')
    with pytest.raises(DataError, match="no export of this project"):
        documents.export(project, None, tmp_path)


def small(tmp_path, text: str, recipe: str = "chunk: {max_chars: 300, min_chars: 0}\nsplit: {val: 0, test: 0}\n") -> Project:
    project = Project.create(tmp_path / "small", recipe)
    (tmp_path / "book.md").write_text(text)
    add_files(project, [tmp_path / "book.md"])
    return project


BOOK = (
    "# Pump\n\n## How to start the pump\n\nPress the green button.\n\n## How to stop the pump\n\nPress the red button twice.\n"
)


def test_a_new_version_of_a_document_keeps_the_rows_of_what_did_not_change(tmp_path):
    with small(tmp_path, BOOK) as project:
        documents.run(project, lambda line: None)
        row = next(row for row in review.queue(project) if "start" in row["question"])
        review.edit(project, row["id"], "answer", "Press the green button once.")
        (tmp_path / "book.md").write_text(
            "# Pump\n\nA new line.\n\n" + BOOK.partition("\n\n")[2].replace("twice", "three times")
        )
        changed, _ = add_files(project, [tmp_path / "book.md"])
        assert changed == ["book.md"]
        exported = documents.run(project, lambda line: None)
        rows = [json.loads(line)["output"] for line in (exported.folder / "train.jsonl").read_text().splitlines()]
        assert "Press the red button three times." in rows and "Press the red button twice." not in rows


def test_edits_and_rejections(tmp_path):
    with small(tmp_path, BOOK) as project:
        documents.run(project, lambda line: None)
        rows = review.queue(project)
        review.decide(project, [rows[0]["id"][:10]], "rejected")
        review.edit(project, rows[1]["id"], "answer", "Better.")
        exported = documents.export(project)
        assert exported.counts == {"train": len(rows) - 1}
        pairs = documents.export(project, project.recipe.export.model_copy(update={"format": "preference"}))
        samples = list(read_samples(Config(dataset=["small"], dataset_dir=str(pairs.folder)), wants=Preference))
        assert [(sample.chosen.content, sample.rejected.content) for sample in samples] == [("Better.", rows[1]["answer"])]
        assert review.details(project, review.find_row(project, rows[1]["id"]))["source"].startswith("#")


def test_chunks_by_hand_stay(tmp_path):
    with small(tmp_path, BOOK, "chunk: {max_chars: 1000, min_chars: 500}\n") as project:
        documents.parse(project)
        documents.chunk(project)
        [chunk] = project.store.all("SELECT * FROM chunk WHERE state='current'")
        cut = BOOK.index("## How to stop")
        split_chunk(project, chunk["id"][:8], cut)
        documents.chunk(project)
        spans = [tuple(row) for row in project.store.all("SELECT start, end FROM chunk WHERE state='current' ORDER BY start")]
        assert spans == [(0, len(BOOK[:cut].rstrip())), (cut, len(BOOK.rstrip()))]
        ids = [row["id"] for row in project.store.all("SELECT id FROM chunk WHERE state='current' ORDER BY start")]
        merge_chunks(project, *ids)
        assert project.store.value("SELECT id FROM chunk WHERE state='current'") == chunk["id"]
        with pytest.raises(DataError, match="not inside"):
            split_chunk(project, chunk["id"], 10_000)


def test_cleaning_is_shown_as_a_difference(tmp_path):
    with small(tmp_path, "# A\n\nWords ![x](x.png) here and some more of them.\n") as project:
        documents.parse(project)
        documents.chunk(project)
        chunk = project.store.one("SELECT * FROM chunk WHERE state='current'")
        assert "-Words ![x](x.png) here" in cleaning_of(project, chunk["id"]) and chunk["cleaned"] is not None


def test_a_leak_is_refused(tmp_path):
    with small(tmp_path, BOOK + BOOK.replace("pump", "fan")) as project:
        documents.run(project, lambda line: None)
        rows = review.queue(project)
        project.store.write("UPDATE question SET text='How do I start the pump?'")
        project.store.write("UPDATE answer SET dup_of=NULL")
        project.store.write("UPDATE chunk SET split='test' WHERE id=?", rows[0]["chunk"])
        with pytest.raises(DataError, match="in two splits"):
            documents.export(project)


def test_bad_files_are_named_and_the_rest_goes_on(tmp_path):
    with small(tmp_path, BOOK) as project:
        (tmp_path / "broken.pdf").write_bytes(b"%PDF-1.4 rubbish")
        (tmp_path / "copy.md").write_text(BOOK)
        _, notes = add_files(project, [tmp_path / "broken.pdf", tmp_path / "copy.md"])
        assert "copy.md is the same, byte for byte, as book.md" in notes[0]
        lines = []
        documents.run(project, lines.append)
        assert any("not read: broken.pdf is a broken PDF file" in line for line in lines)
        status = status_of(project)
        assert status.documents == {"failed": 1, "parsed": 1} and "broken.pdf" in status.text()


def test_what_a_folder_holds_beside_documents_is_said(tmp_path):
    folder = tmp_path / "docs"
    (folder / "node_modules").mkdir(parents=True)
    for name in ("a.md", "SUMMARY.md", "x.png", "y.png", "node_modules/z.md", ".hidden.md"):
        (folder / name).write_text(f"# {name}\n\nwords")
    with small(tmp_path, BOOK) as project:
        changed, notes = add_files(project, [folder])
        assert changed == ["docs/a.md"]
        assert any("2 files left out by parse.exclude: SUMMARY.md, z.md" in note for note in notes)
        assert any("2 files of kinds that are not read: 2 .png" in note for note in notes)


def test_the_command_line(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "pump.md").write_text(BOOK)
    assert main(["documents", "new", "p", "--add", "docs"]) == 0
    for verb in ("parse", "chunk", "split", "ask", "answer", "judge", "dedup", "export", "status", "run"):
        assert main(["documents", verb, "p"]) == 0, capsys.readouterr().err
    assert main(["documents", "chunk", "p", "--list"]) == 0
    assert main(["documents", "review", "p", "--json"]) == 0
    out = capsys.readouterr().out
    assert "luthier train --model_name_or_path starter --dataset p --dataset_dir p/exports/v1" in out
    assert main(["documents", "new", "p"]) == 2 and main(["documents", "run", "nowhere"]) == 2
    assert "is a project already" in capsys.readouterr().err


def test_a_recipe_alone_makes_a_project(tmp_path):
    (tmp_path / "job").mkdir()
    (tmp_path / "job" / "pump.md").write_text(BOOK)
    (tmp_path / "job" / "project.yaml").write_text("sources: [pump.md]\nsplit: {val: 0, test: 0}\n")
    assert main(["documents", "run", str(tmp_path / "job" / "project.yaml")]) == 0
    assert (tmp_path / "job" / "exports" / "v1" / "train.jsonl").is_file()


def test_one_process_at_a_time(tmp_path):
    with small(tmp_path, BOOK) as project, project.working(), Project.open(project.folder) as other:  # noqa: SIM117
        with pytest.raises(DataError, match="another process"), other.working():
            pass


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ({"chunks": {}}, 'unknown key "chunks". Did you mean "chunk"'),
        ({"chunk": {"max_char": 3}}, 'unknown key "chunk.max_char". Did you mean "max_chars"'),
        ({"chunk": {"max_chars": "many"}}, "chunk.max_chars is 'many'"),
        ({"endpoint": {"api_key": "sk-1"}}, "is refused"),
        ({"ask": {"kind": "manuel"}}, 'Did you mean "manual"'),
        ({"ask": {"generator": "model"}}, "not both set"),
        ({"split": {"val": 0.6, "test": 0.4}}, "less than 10 %"),
    ],
)
def test_a_bad_recipe_is_said(raw, words):
    with pytest.raises(ConfigError, match="(?s)" + words.replace("(", r"\(")):
        make_recipe(raw, "project.yaml")


def test_off_is_a_word_and_true_is_not(tmp_path):
    """YAML 1.1 reads off as false, and a key "off" with it."""
    file = tmp_path / "project.yaml"
    file.write_text("filter: {off: [cut]}\nendpoint: {json_mode: off}\njudge: {enabled: false}\nparse: {repair: no}\n")
    recipe = load_recipe(file)
    assert (recipe.filter.off, recipe.endpoint.json_mode) == (("cut",), "off")
    assert not recipe.judge.enabled and not recipe.parse.repair


def test_a_recipe_in_another_encoding_is_said(tmp_path):
    (tmp_path / "project.yaml").write_bytes("answer: {style: 简短}\n".encode("gbk"))
    with pytest.raises(ConfigError, match=r"project\.yaml is not UTF-8 text"):
        load_recipe(tmp_path / "project.yaml")


def test_slots_of_prompts_are_checked():
    recipe = make_recipe({"ask": {"prompts": {"en": "Ask {{count}} things about {{txt}}"}}}, "x")
    with pytest.raises(ConfigError, match=r"unknown slot \{\{txt\}\}"):
        prompt_of(recipe, "ask", "en")
    recipe = make_recipe({"ask": {"prompts": {"en": "Ask {{count}} things"}}}, "x")
    with pytest.raises(ConfigError, match=r"\{\{text\}\} is missing"):
        prompt_of(recipe, "ask", "en")


def test_a_new_project_has_a_recipe_that_loads(tmp_path):
    with Project.create(tmp_path / "p") as project:
        assert load_recipe(project.recipe_file).ask.generator == "extract"
