"""Function calls against what is right, by the Berkeley leaderboard's rules: what it takes as right, and what it does not."""

import pytest

from luthier.calls import truth_of, why_wrong
from luthier.types import ToolCall

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
    found = why_wrong([call(**arguments)], [{"weather": CHOICES}], TOOLS)
    assert found is None if reason is None else reason in found


def test_several_calls_may_come_in_any_order_but_each_once():
    both = [{"weather": {"city": ["Rome"]}}, {"weather": {"city": ["Oslo"]}}], TOOLS
    assert why_wrong([call(city="Oslo"), call(city="Rome")], *both) is None
    assert why_wrong([call(city="Oslo")], *both) == "1 calls instead of 2"
    assert why_wrong([call(city="Oslo"), call(city="Oslo")], *both) == 'weather: city is "Oslo"'
    either = [{"weather": {"city": ["Rome", "Oslo"]}}, {"weather": {"city": ["Rome"]}}], TOOLS
    assert why_wrong([call(city="Rome"), call(city="Oslo")], *either) is None
    assert (
        why_wrong([call("time", zone="x")], [{"weather": {"city": ["Rome"]}}], TOOLS)
        == "weather is not called once more, but time"
    )


def test_an_argument_that_may_not_be_left_out():
    assert why_wrong([call(city="Rome")], [{"weather": {"city": ["Rome"], "days": [3]}}], TOOLS) == "weather: days is missing"


def test_what_other_calls_say_is_right_as_they_say_it():
    """No schema, no alternatives: a list is one value, and an object has its own keys."""
    given = [call("book", names=["a", "b"], when={"day": "Mon", "hours": [9, 10]})]
    truth = truth_of(given)
    assert why_wrong(given, truth) is None
    assert why_wrong([call("book", names=["A", "b"], when={"day": "mon", "hours": [9, 10]})], truth) is None
    for wrong in ({"names": "a"}, {"names": ["b", "a"]}, {"when": {"day": "Mon", "hours": 9}}, {"more": 1}):
        assert why_wrong([call("book", **(dict(given[0].arguments) | wrong))], truth) is not None


def test_a_schema_of_several_types_holds_to_none():
    tools = [{"name": "f", "parameters": {"properties": {"a": {"type": ["string", "null"]}}}}, {"name": "g"}]
    assert why_wrong([call("f", a="x y"), call("g", b=1)], [{"f": {"a": ["X-Y"]}}, {"g": {"b": [1]}}], tools) is None
