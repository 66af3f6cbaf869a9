"""Grammars of tool calls and schemas: what the tool format itself writes is allowed, what it would not write is not."""

import json

import pytest

from luthier.templates.tools import TOOL_FORMATS, find_tool_format
from luthier.types import ToolCall
from luthier.workflows.constrain import Grammarian

WEATHER = {
    "name": "weather",
    "parameters": {
        "type": "object",
        "properties": {"place": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["place"],
        "additionalProperties": False,
    },
}
CLOCK = {"name": "clock"}


@pytest.fixture(scope="module")
def tokenizer():
    from transformers import AutoTokenizer

    from luthier.hub import resolve_model

    return AutoTokenizer.from_pretrained(resolve_model("starter", None))


@pytest.fixture(scope="module")
def accepts(tokenizer):
    """(grammar, text) -> whether the whole text may be said."""
    from llguidance import LLMatcher
    from llguidance.hf import from_tokenizer

    words = from_tokenizer(tokenizer)

    def check(grammar, text):
        matcher = LLMatcher(words, LLMatcher.grammar_from_lark(grammar))
        assert not matcher.is_error(), matcher.get_error()
        ids = tokenizer.encode(text, add_special_tokens=False)
        return matcher.try_consume_tokens(ids) == len(ids) and matcher.is_accepting()

    return check


@pytest.mark.parametrize("name", list(TOOL_FORMATS))
def test_calls_of_every_format(name, tokenizer, accepts):
    format, grammarian = find_tool_format(name), Grammarian(tokenizer)
    grammar = grammarian.calls([WEATHER, CLOCK], name, reasoning="none", required=True, many=True)
    for call in (ToolCall(name="weather", arguments={"place": "Köln", "days": 3}), ToolCall(name="clock", arguments={})):
        assert accepts(grammar, format.write([call]).lstrip()), call
    assert not accepts(grammar, format.write([ToolCall(name="whether", arguments={"place": "a"})]).lstrip())
    assert not accepts(grammar, "Hello.")


@pytest.mark.parametrize("name", ["qwen", "mistral", "default", "deepseek", "phi4_mini"])
def test_arguments_follow_the_schema_and_several_calls_are_allowed_where_they_are(name, tokenizer, accepts):
    format, grammarian = find_tool_format(name), Grammarian(tokenizer)
    many, one = (
        grammarian.calls([WEATHER, CLOCK], name, reasoning="none", required=True, many=value) for value in (True, False)
    )
    two = format.write([ToolCall(name="weather", arguments={"place": "a"}), ToolCall(name="clock", arguments={})])
    assert accepts(many, two)
    assert not accepts(one, two)
    for wrong in ({}, {"place": 3}, {"place": "a", "hours": 1}):
        assert not accepts(many, format.write([ToolCall(name="weather", arguments=wrong)]))


def test_words_are_free_where_calls_are_not_required(tokenizer, accepts):
    grammar = Grammarian(tokenizer).calls([WEATHER], "qwen", reasoning="possible", required=False, many=False)
    call = find_tool_format("qwen").write([ToolCall(name="weather", arguments={"place": "a"})])
    for text in ("Hello.", call, f"Let me see.\n{call}", f"<think>\nhm\n</think>\n\n{call}"):
        assert accepts(grammar, text), text
    assert not accepts(grammar, f"{call}\n{call}")
    assert not accepts(grammar, call.replace("weather", "whether"))


@pytest.mark.parametrize(
    ("reasoning", "good", "bad"),
    [
        ("none", ['{"a": 1}'], ["<think>\nhm\n</think>\n\n{}", "hm", '{"a": 1} {}']),
        ("possible", ['{"a": 1}', '<think>\nhm {\n</think>\n\n{"a": 1}'], ["hm\n</think>\n\n{}"]),
        ("opened", ['hm\n</think>\n\n{"a": 1}'], ['{"a": 1}']),
    ],
)
def test_reasoning_comes_before_json(tokenizer, accepts, reasoning, good, bad):
    grammar = Grammarian(tokenizer).json({"type": "object"}, reasoning=reasoning)
    assert all(accepts(grammar, text) for text in good)
    assert not any(accepts(grammar, text) for text in bad)


def test_values_are_those_of_the_schema(tokenizer, accepts):
    grammar = Grammarian(tokenizer).json(WEATHER["parameters"], reasoning="none")
    assert accepts(grammar, json.dumps({"place": 'a "quoted" word\n', "days": -3}))
    assert not accepts(grammar, json.dumps({"days": 3}))
