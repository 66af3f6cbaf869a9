import pytest

from luthier.errors import DataError
from luthier.types import Conversation, Preference, Prompt, Rated, Text


def one(read, write, row, *, wants=Conversation, **entry):
    write("rows.jsonl", [row])
    return next(iter(read({"set": {"file_name": "rows.jsonl", **entry}}, wants=wants)))


def words(sample):
    return [(message.role, message.content) for message in sample.messages]


def test_prompt_query_response(read, write):
    assert words(one(read, write, {"instruction": "Add", "input": "1 2", "output": "3"})) == [
        ("user", "Add\n1 2"),
        ("assistant", "3"),
    ]
    assert words(one(read, write, {"instruction": "", "input": "1 2", "output": ""})) == [("user", "1 2"), ("assistant", "")]


def test_history_comes_first_and_system_before_it(read, write):
    row = {"instruction": "c", "output": "d", "past": [["a", "b"]], "who": "You are kind."}
    sample = one(read, write, row, columns={"history": "past", "system": "who"})
    assert words(sample) == [("system", "You are kind."), ("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d")]


def test_tools_as_json_text(read, write):
    row = {"instruction": "a", "output": "b", "tools": '[{"type": "function", "function": {"name": "f", "parameters": {}}}]'}
    assert one(read, write, row, columns={"tools": "tools"}).tools == ({"name": "f", "parameters": {}},)


def test_thinking_is_split_off(read, write):
    answer = one(read, write, {"instruction": "a", "output": "<think>\nhm\n</think>\n\nb"}).messages[-1]
    assert (answer.thinking, answer.content) == ("hm", "b")
    assert one(read, write, {"instruction": "a", "output": "<think>\n\n</think>\n\nb"}).messages[-1].thinking == ""
    assert one(read, write, {"instruction": "a", "output": "say <think> b"}).messages[-1].content == "say <think> b"
    assert one(read, write, {"instruction": "<think>x</think>a", "output": "b"}).messages[0].content == "<think>x</think>a"


def test_preference(read, write):
    row = {"instruction": "a", "chosen": "good", "rejected": "bad"}
    sample = one(read, write, row, wants=Preference, ranking=True)
    assert (words(sample.prompt), sample.chosen.content, sample.rejected.content) == ([("user", "a")], "good", "bad")
    assert one(read, write, row, wants=Prompt, ranking=True).reference == "good"


@pytest.mark.parametrize(("tag", "desirable"), [(True, True), (False, False), (1, True), ("false", False)])
def test_rating(read, write, tag, desirable):
    sample = one(read, write, {"instruction": "a", "output": "b", "ok": tag}, wants=Rated, columns={"kto_tag": "ok"})
    assert sample.desirable is desirable


def test_prompt_keeps_other_columns_and_needs_no_answer(read, write):
    sample = one(read, write, {"instruction": "a", "answer": 4, "level": "easy"}, wants=Prompt)
    assert (sample.reference, sample.columns) == (None, {"answer": 4, "level": "easy"})


def test_text_is_the_prompt_column(read, write):
    samples_row = {"text": "once upon", "output": None}
    assert one(read, write, samples_row, wants=Text, columns={"prompt": "text"}).text == "once upon"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"instruction": "a"}, r'rows.jsonl row 1 has no "output" \(keys: instruction\)'),
        (
            {"instruction": "a", "response": "b"},
            r'has no "output" \(keys: instruction, response\).\n  Map it .*"response": "response"',
        ),
        ({"question": "a", "output": "b"}, 'has no "instruction" .*\n.*"prompt": "question"'),
        ({"instruction": "a", "output": None}, 'has null in "output"'),
        ({"instruction": "a", "output": 3}, 'has the number 3 in "output" where text is needed'),
        ({"instruction": ["a"], "output": "b"}, 'has a list in "instruction"'),
    ],
)
def test_bad_rows(read, write, row, message):
    with pytest.raises(DataError, match=message):
        one(read, write, row)


@pytest.mark.parametrize("history", ["a", [["q"]], [3], {"q": "a"}])
def test_bad_history(read, write, history):
    with pytest.raises(DataError, match=r'row 1 has .* in "history"'):
        one(read, write, {"instruction": "a", "output": "b", "history": history}, columns={"history": "history"})


def test_pictures_are_refused(read, write):
    with pytest.raises(DataError, match='holds images in "img"'):
        one(read, write, {"instruction": "a", "output": "b", "img": ["a.png"]}, columns={"images": "img"})
