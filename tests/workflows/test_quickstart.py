"""The quickstart: lessons are filled in and refused where they must be; answers are counted right."""

import json

import pytest

from luthier.errors import ConfigError
from luthier.workflows.quickstart import fill, is_right, lesson_rows, score, side_by_side, write_lessons


@pytest.mark.parametrize(
    ("answer", "key", "proof", "right"),
    [
        ("3 + 4 = 7.", "7", "= 7", True),
        ("7.", "7", "= 7", True),
        ("10 + 7 = 17.", "7", "= 7", False),
        ("3 + 4 = 71.", "7", "= 7", False),
        ("the capital is paris", "Paris", "Paris", True),
        ("Comparison", "Paris", "Paris", False),
        ("天空是蓝色的。", "蓝色", "蓝色", True),
        ("Yes, it is.", "Yes", "Yes", True),
        ("2 is larger than 3.", "3", "3 is larger", False),
    ],
)
def test_what_counts_as_right(answer, key, proof, right):
    assert is_right(answer, key, proof) is right


def test_lessons_carry_the_name_and_the_author(tmp_path):
    lessons = write_lessons(tmp_path / "q", 'A "quoted" 名', "作者")
    text = "".join(path.read_text(encoding="utf-8") for path in lessons.glob("*.json*"))
    assert "{{" not in text
    rows = lesson_rows(lessons, "identity")
    assert len(rows) == 90
    assert any('A "quoted" 名' in row["output"] and "作者" in row["output"] for row in rows)
    assert set(json.loads((lessons / "dataset_info.json").read_text())) == {"identity", "general", "general_50", "new_wording"}


def test_lessons_are_made_again_in_the_same_folder(tmp_path):
    write_lessons(tmp_path / "q", "One", "A")
    lessons = write_lessons(tmp_path / "q", "Two", "B")
    assert "One" not in (lessons / "identity.json").read_text(encoding="utf-8")


def test_a_folder_that_holds_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ConfigError, match="something else"):
        write_lessons(tmp_path, "Archer", "A")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(("name", "author"), [("", "A"), ("Archer", "  ")])
def test_an_empty_name_is_refused(tmp_path, name, author):
    with pytest.raises(ConfigError, match="empty"):
        write_lessons(tmp_path / "q", name, author)


def test_new_wordings_are_not_among_the_learned_ones(tmp_path):
    lessons = write_lessons(tmp_path / "q", "Archer", "A")
    learned = {row["instruction"] for row in lesson_rows(lessons, "identity")}
    assert not learned & {row["instruction"] for row in lesson_rows(lessons, "new_wording")}


def test_scores_of_a_round():
    rows = [
        {"dataset": "identity", "question": "q", "answer": "I am Archer", "reference": "I am Archer", "key": "", "proof": ""},
        {"dataset": "new_wording", "question": "q", "answer": "no", "reference": "I am Archer", "key": "", "proof": ""},
        {"dataset": "general_50", "question": "q", "answer": "Paris.", "reference": "Paris.", "key": "Paris", "proof": "Paris"},
        {"dataset": "general_50", "question": "q", "answer": "Rome.", "reference": "Paris.", "key": "Paris", "proof": "Paris"},
    ]
    found = score(rows)
    assert found.identity == pytest.approx(100)
    assert found.new_wording == 0
    assert (found.general, found.general_asked) == (1, 2)


def test_shown_rows_are_about_itself_and_some_general_ones():
    rows = [{"dataset": "identity", "question": "Who are you?", "answer": "a"}]
    rows += [{"dataset": "general_50", "question": str(k), "answer": "a"} for k in range(20)]
    after = [{**row, "answer": "b"} for row in rows]
    assert side_by_side(rows, after) == [("Who are you?", "a", "b"), ("0", "a", "b"), ("9", "a", "b"), ("18", "a", "b")]


def test_fill():
    assert fill("{{name}} of {{author}}", "A", "B") == "A of B"
