"""Function calls against the Berkeley leaderboard's ground truth: what it takes as right, and what it does not."""

import pytest

from luthier.errors import DataError
from luthier.evals.calls import CallTask, read_tasks, why_wrong
from luthier.types import Conversation, Message, ToolCall

PARAMETERS = {
    "type": "object",
    "required": ["city"],
    "properties": {
        "city": {"type": "string"}, "days": {"type": "integer"}, "at": {"type": "number"}, "warm": {"type": "boolean"},
        "names": {"type": "array", "items": {"type": "string"}}, "when": {"type": "object"},
    },
}  # fmt: skip
TOOLS = (
    {"name": "weather", "parameters": PARAMETERS},
    {"name": "time", "parameters": {"properties": {"zone": {"type": "string"}}}},
)
CHOICES = {
    "city": ["New York", "NYC"], "days": [3, ""], "at": [1.0, ""], "warm": [True, ""], "names": [["a b", "c"], ""],
    "when": [{"day": ["Mon", "monday"], "hour": [9, ""]}, ""],
}  # fmt: skip


def task(*truth):
    return CallTask(id="x", conversation=Conversation(messages=(Message(role="user", content="?"),), tools=TOOLS), truth=truth)


def call(name="weather", **arguments):
    return ToolCall(name=name, arguments=arguments)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"city": "new-york"}, None),
        ({"city": "NYC", "days": 3, "at": 1, "warm": True, "names": ["A_B", "c"]}, None),
        ({"city": "NYC", "when": {"day": "Monday"}}, None),
        ({"city": "NYC", "when": {"day": "Monday", "hour": 10}}, "when is"),
        ({"city": "NYC", "when": {"hour": 9}}, "when is"),
        ({"city": "NYC", "names": ["c", "a b"]}, "names is"),
        ({"city": "NYC", "days": "3"}, "days is no integer"),
        ({"city": "NYC", "days": True}, "days is no integer"),
        ({"city": "NYC", "warm": 1}, "warm is no boolean"),
        ({"city": "NYC", "days": 4}, "days is 4"),
        ({"city": "NYC", "hour": 4}, "hour is not wanted"),
        ({"days": 3}, "city is missing"),
    ],
)
def test_arguments(arguments, reason):
    found = why_wrong([call(**arguments)], task({"weather": CHOICES}))
    assert found is None if reason is None else reason in found


def test_several_calls_may_come_in_any_order_but_each_once():
    both = task({"weather": {"city": ["Rome"]}}, {"weather": {"city": ["Oslo"]}})
    assert why_wrong([call(city="Oslo"), call(city="Rome")], both) is None
    assert why_wrong([call(city="Oslo")], both) == "1 calls instead of 2"
    assert why_wrong([call(city="Oslo"), call(city="Oslo")], both) == 'weather: city is "Oslo"'
    either = task({"weather": {"city": ["Rome", "Oslo"]}}, {"weather": {"city": ["Rome"]}})
    assert why_wrong([call(city="Rome"), call(city="Oslo")], either) is None
    assert (
        why_wrong([call("time", zone="x")], task({"weather": {"city": ["Rome"]}}))
        == "weather is not called once more, but time"
    )


def test_an_argument_that_may_not_be_left_out():
    assert why_wrong([call(city="Rome")], task({"weather": {"city": ["Rome"], "days": [3]}})) == "weather: days is missing"


def test_every_task_of_the_leaderboard_is_read_and_its_own_answer_is_right(assets):
    """The first right value of each argument makes a call that passes; without its name it does not."""
    tasks = read_tasks(assets / "data" / "bfcl-toolcall-en")
    assert set(tasks) == {"simple_python", "multiple", "parallel"} and sum(map(len, tasks.values())) == 800
    for each in (one for category in tasks.values() for one in category):
        calls = [ToolCall(name=name, arguments=_first(right)) for truth in each.truth for name, right in truth.items()]
        assert why_wrong(calls[::-1], each) is None, each.id
        assert why_wrong([*calls[:-1], call("nothing")], each) is not None


def _first(choices):
    given = {key: [value for value in values if value != ""] for key, values in choices.items()}
    return {key: _plain(values[0]) for key, values in given.items() if values}


def _plain(value):
    if isinstance(value, dict):
        return {key: _plain(each[0] if isinstance(each, list) else each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list) else value


def test_ground_truth_beside_the_questions(tmp_path):
    (tmp_path / "possible_answer").mkdir()
    question = '{"id": "a_0", "question": [[{"role": "user", "content": "?"}]], "function": [{"name": "f", "parameters": {}}]'
    (tmp_path / "BFCL_v3_simple.json").write_text(question + "}\n")
    with pytest.raises(DataError, match="row 1 lacks its question, function or ground_truth"):
        read_tasks(tmp_path)
    (tmp_path / "possible_answer" / "BFCL_v3_simple.json").write_text('{"id": "a_0", "ground_truth": [{"f": {}}]}\n')
    assert read_tasks(tmp_path)["simple"][0].truth == [{"f": {}}]
