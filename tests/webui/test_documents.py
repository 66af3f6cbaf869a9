"""What the documents page shows and writes: exact cuts, marked quotes, pictures of pages, recipes, the form of Train."""

from __future__ import annotations

import base64
import io
import json
import random
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from fastapi import FastAPI
from fastapi.testclient import TestClient

from luthier.documents.filters import meanings
from luthier.documents.project import Project, add_files
from luthier.documents.recipe import KINDS, Recipe
from luthier.documents.steps.coverage import Part
from luthier.errors import ConfigError, LuthierError
from luthier.webui import documentviews as views
from luthier.webui import pagepictures
from luthier.webui.page import Shared
from luthier.webui.pages.documents_export import is_registered, training
from luthier.webui.pages.documents_sources import _readable, _refuse_links
from luthier.webui.recipeform import RecipeForm
from luthier.webui.settings import Settings
from luthier.webui.words import locale, translate
from luthier.workflows import documents
from tests.webui.make_documents import MANUALS, write_manual, write_pdf


@pytest.fixture(scope="module")
def washer(tmp_path_factory) -> Path:
    """A project of a manual and a PDF file, with rows."""
    folder = tmp_path_factory.mktemp("documents")
    with Project.create(folder / "washer") as project:
        add_files(project, [write_manual(folder, "en"), write_pdf(folder / "service.pdf")])
        documents.make_rows(project, lambda line: None)
    return folder / "washer"


@pytest.mark.parametrize("text", [*MANUALS.values(), "one line\r\n\r\nanother 😀 one. And more.\n  \n```\na\n\nb\n```\n", "x"])
def test_the_places_to_cut_join_to_the_text_without_a_gap(text):
    for start, end in ((0, len(text)), (len(text) // 3, len(text) // 2 + 1)):
        found = views.pieces(text, start, end)
        assert [found[0][0], found[-1][1]] == [start, end]
        assert "".join(text[left:right] for left, right in found) == text[start:end]
        assert all(text[left:right].strip() for left, right in found[1:]), "no place leaves an empty chunk"


def test_sentences_and_lines_are_places_to_cut():
    text = "# A\n\nOne. Two, e.g. three.\n- four\n第一句。第二句。\n"
    said = [text[left:right].strip() for left, right in views.pieces(text, 0, len(text))]
    assert said == ["# A", "One.", "Two, e.g. three.", "- four", "第一句。", "第二句。"]


def test_quotes_are_marked_and_no_character_is_run():
    text = 'before <b>x & "y" <script>z</script> after'
    html = views.marked(text, 7, len(text) - 6, [(10, 13), (11, 15), (-1, -1), (30, 99)])
    assert html.count("<mark>") == 2 and "<script>" not in html and "<b>" not in html
    assert html.replace("<mark>", "").replace("</mark>", "") == (
        '<span class="around">before </span>&lt;b&gt;x &amp; &quot;y&quot; &lt;script&gt;z&lt;/script&gt;'
        '<span class="around"> after</span>'
    )
    assert views.merged([(5, 9), (1, 3), (2, 4), (9, 10)]) == [(1, 4), (5, 10)]


def test_windows_show_each_chunk_and_each_character(washer):
    with Project.open(washer) as project:
        for row in project.store.all("SELECT * FROM document"):
            found = views.windows(project, row["id"])
            assert [found[0].start, found[-1].end] == [0, row["num_chars"]]
            assert all(left.end == right.start for left, right in pairwise(found))
            assert [one.page for one in found] == ([1, 2] if row["kind"] == "pdf" else [None])
            shown = {chunk["id"]: chunk for window in found for chunk in views.chunks_in(project, row["id"], window)}
            ids = [one["id"] for one in project.store.all("SELECT id FROM chunk WHERE doc=? ORDER BY start", row["id"])]
            assert list(shown) == ids and [shown[id]["next"] for id in ids] == [*ids[1:], None]
            assert [shown[id]["number"] for id in ids] == list(range(1, len(ids) + 1))
        assert sum(chunk["rows"] for chunk in shown.values()) > 0


def test_projects_are_found_two_levels_deep(washer, tmp_path):
    assert views.find_projects([tmp_path]) == []
    deep = tmp_path / "deep" / "washer"
    shutil.copytree(washer, deep)
    assert views.find_projects([tmp_path, tmp_path / "nowhere"]) == [deep.resolve()]
    assert views.find_projects([washer]) == [washer.resolve()]


def test_heat_grows_with_what_is_quoted():
    def level(rows, proved):
        return views.heat(Part("d", "s", 1, 1, 100, proved, rows))

    assert [level(0, 90), level(1, 0), level(1, 30), level(1, 60), level(9, 75), level(9, 100)] == [0, 1, 2, 3, 4, 4]


# ---- pictures ----


def test_a_page_is_drawn_and_its_quote_marked(tmp_path):
    from PIL import Image, ImageChops

    file = write_pdf(tmp_path / "service.pdf")
    plain = Image.open(io.BytesIO(pagepictures.render(str(file), 2, 600)))
    marked = Image.open(io.BytesIO(pagepictures.render(str(file), 2, 600, "E20 means that the water does not drain.")))
    assert plain.size == marked.size == (600, 850)
    left, top, right, bottom = ImageChops.difference(plain, marked).getbbox()
    scale = 600 / 595
    line = (842 - (780 - 30 - 24 - 24)) * scale  # where the file's own second error code stands
    assert top < line <= bottom + 4 and bottom - top < 20 and left >= 72 * scale - 2 and right < 400 * scale


@pytest.mark.parametrize(
    ("quote", "pieces"),
    [
        ("# Hold the *key* button for three seconds.", ["Hold the key button for", "three seconds."]),
        ("按住钥匙键三秒可以打开或关闭童锁。", ["按住钥匙键三秒可以打", "开或关闭童锁"]),
        ("a b", []),
    ],
)
def test_a_quote_is_looked_for_in_pieces(quote, pieces):
    assert pagepictures.search_pieces(quote) == pieces


@pytest.fixture
def pictures(washer, monkeypatch):
    """A client of the route, with the process that draws replaced by a call in this one."""
    shared = Shared(settings=Settings(folders=(washer.parent,)), pages={})

    async def call(do, **asked):
        assert do == "render"
        return {"png": base64.b64encode(pagepictures.render(**{"number": asked.pop("page"), **asked})).decode()}

    monkeypatch.setattr(shared.pictures, "call", call)
    app = FastAPI()
    pagepictures.add_route(app, shared)
    return TestClient(app)


def test_only_pages_of_documents_inside_the_folders_are_given_out(pictures, washer, tmp_path):
    with Project.open(washer) as project:
        pdf = project.store.value("SELECT id FROM document WHERE kind='pdf'")
        markdown = project.store.value("SELECT id FROM document WHERE kind='markdown'")
    good = pictures.get(pagepictures.address(str(washer), str(pdf), 1, width=400))
    assert good.status_code == 200 and good.content.startswith(b"\x89PNG") and good.headers["content-type"] == "image/png"
    with Project.create(tmp_path / "elsewhere") as other:
        add_files(other, [write_pdf(tmp_path / "x.pdf")])
    for folder, document, page in (
        (washer, pdf, 3),
        (washer, pdf, 0),
        (washer, markdown, 1),
        (washer, "x' OR 1=1 --", 1),
        (washer.parent, pdf, 1),
        (tmp_path / "elsewhere", pdf, 1),
        ("/etc", pdf, 1),
    ):
        assert pictures.get(pagepictures.address(str(folder), str(document), page)).status_code in (404, 422), folder


def test_the_process_that_draws_says_a_broken_file_and_goes_on(tmp_path):
    broken, good = tmp_path / "broken.pdf", write_pdf(tmp_path / "good.pdf")
    broken.write_bytes(b"%PDF-1.4 nothing")
    asked = [
        {"id": n, "do": "render", "path": str(path), "page": 1, "width": 320, "find": ""}
        for n, path in enumerate((broken, good))
    ]
    lines = "".join(json.dumps(one) + "\n" for one in asked)
    done = subprocess.run(
        [sys.executable, "-m", "luthier.webui.pagepictures"],
        input=lines,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    first, second = map(json.loads, done.stdout.splitlines())
    assert "cannot be drawn" in first["error"] and base64.b64decode(second["result"]["png"]).startswith(b"\x89PNG")


# ---- the recipe ----


def test_a_recipe_form_writes_what_differs_and_reads_it_again():
    form = RecipeForm("# mine\nlanguage: auto\nask: {generator: extract, kind: law}\n")
    assert form.get(("ask", "kind")) == "law" and form.get(("chunk", "max_chars")) == 1600
    form.set(("chunk", "max_chars"), 900)
    form.set(("ask", "kind"), "manual")  # the default again
    form.set(("ask", "personas"), ["a new employee"])
    kept = yaml.safe_load(form.text())
    assert kept == {
        "language": "auto",
        "ask": {"generator": "extract", "personas": ["a new employee"]},
        "chunk": {"max_chars": 900},
    }
    assert RecipeForm(form.text()).right == form.right
    form.set(("ask", "personas"), None)
    form.set(("chunk", "max_chars"), 1600)
    assert "chunk" not in form.values


def test_a_recipe_that_is_not_right_yet_is_kept_until_it_is():
    form = RecipeForm("{}")
    with pytest.raises(ConfigError, match="endpoint"):
        form.set(("ask", "generator"), "model")
    with pytest.raises(ConfigError):
        form.set(("endpoint", "base_url"), "http://127.0.0.1:8000/v1")
    form.set(("endpoint", "model"), "qwen3")
    assert form.right.ask.generator == "model"
    with pytest.raises(ConfigError) as wrong:
        form.set(("chunk", "max_chars"), "wide")
    assert translate("zh", wrong.value.message) != wrong.value.message


def test_a_recipe_form_survives_any_order_of_typing():
    rng = random.Random(3)
    paths = {("ask", "kind"): list(KINDS), ("ask", "types"): [{"fact": 1.0}, None], ("budget", "money"): [None, 2.5],
             ("endpoint", "model"): ["a", None], ("answer", "turns"): [1, 3], ("language",): ["zh", "auto"]}  # fmt: skip
    form, wanted = RecipeForm("{}"), {}
    for _ in range(200):
        path = rng.choice(list(paths))
        wanted[path] = rng.choice(paths[path])
        form.set(path, wanted[path])
        again = RecipeForm(form.text())
        for known, value in wanted.items():
            assert again.get(known) == (again.default(known) if value is None else value)
    assert set(form.values) <= set(Recipe.model_fields)


def test_prompts_are_checked_before_they_are_kept():
    form = RecipeForm("{}")
    with pytest.raises(ConfigError, match="unknown slot"):
        form.set_prompt("ask", "en", "Ask {{count}} about {{txt}}")
    assert form.values == {} and not form.is_own_prompt("ask", "en")
    form.set_prompt("ask", "en", "Ask {{count}} about {{text}}")
    form.set_prompt("refuse", "zh", "{{question}} {{text}}")
    assert form.values == {
        "ask": {"prompts": {"en": "Ask {{count}} about {{text}}"}},
        "answer": {"prompts": {"refuse_zh": "{{question}} {{text}}"}},
    }
    form.set_prompt("ask", "en", None)
    form.set_prompt("refuse", "zh", RecipeForm("{}").prompt("refuse", "zh"))
    assert form.values == {}


# ---- in and out ----


@pytest.mark.parametrize(
    ("name", "kept"), [("../../a b.PDF", "a b.PDF"), ("手册.docx", "手册.docx"), ("x.exe", None), ("Makefile", None)]
)
def test_uploads_are_named_safely_and_wrong_kinds_refused(name, kept):
    if kept:
        assert _readable(name) == kept
    else:
        with pytest.raises(LuthierError, match="kind"):
            _readable(name)


def test_a_link_out_of_the_allowed_folders_is_refused(tmp_path):
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "a.md").write_text("# A\n\nWords.\n")
    _refuse_links(inside, Settings(folders=(inside,)))
    (tmp_path / "secret.md").write_text("secret")
    (inside / "b.md").symlink_to(tmp_path / "secret.md")
    with pytest.raises(ConfigError, match="outside"):
        _refuse_links(inside, Settings(folders=(inside,)))


def test_train_on_it_fills_what_a_training_needs(washer, tmp_path):
    filled = training("washer", {"train": 9, "val": 2, "test": 1}, "alpaca", "data")
    assert filled.pop("dataset") == ["washer"] and filled.pop("eval_dataset") == ["washer_val"]
    assert filled == {"dataset_dir": None, "val_size": None, "stage": "sft"}
    pairs = training("w", {"train": 9}, "preference", "x/y")
    assert (pairs["stage"], pairs["dataset_dir"], pairs["eval_dataset"]) == ("dpo", "x/y", None)
    assert training("w", {"train": 9, "test": 1}, "text", "data")["stage"] == "pt"
    with Project.open(washer) as project:
        exported = documents.export(project, dataset_dir=tmp_path / "data")
    assert is_registered(tmp_path / "data", "washer", exported.folder)
    assert not is_registered(tmp_path / "data", "washer", washer / "exports" / "v9")
    assert not is_registered(tmp_path, "washer", exported.folder)


def test_every_flag_kind_and_key_of_the_form_has_words_in_both_languages():
    for lang in ("zh", "en"):
        words = locale(lang)
        assert {f"flag.{code}" for code in meanings()} <= words.keys()
        assert {f"recipe.ask.kind.{kind}" for kind in KINDS} <= words.keys()
        assert {f"recipe.ask.types.{name}" for name in Recipe().ask.types} <= words.keys()
        assert {f"docs.stage.{stage}" for stage in ("clean", "ask", "answer", "weaker", "judge", "refuse")} <= words.keys()


@pytest.mark.parametrize(
    "message",
    [
        "manual.pdf is a scan: 9 of 10 pages have no text.",
        "another process is working on documents/washer.",
        "ask.prompts.en: unknown slot {{txt}}.",
        "ask is paused: the account has no credit left (HTTP 402: no).",
        "washer has no row to train on.",
        'project.yaml: unknown key "ask.knd". Did you mean "kind"?',
    ],
)
def test_what_goes_wrong_is_said_in_chinese(message):
    assert translate("zh", message) != message and translate("en", message) == message
