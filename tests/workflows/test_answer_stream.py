"""Answers told apart while they come: as the template reads them when they are whole, however the pieces fall."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from luthier.templates.tools import TOOL_FORMATS, find_tool_format
from luthier.types import ToolCall
from luthier.workflows.answer_stream import AnswerReader

TOOLS = [{"name": "look_up"}, {"name": "look"}, {"name": "add"}]


def read(text, sizes, tool_format="qwen", tools=TOOLS, **options):
    """{"thinking", "words", "calls": [[name, arguments]]} of a text that comes in pieces of these sizes."""
    reader, found, at = AnswerReader(tools=tools, tool_format=tool_format, **options), [], 0
    for size in sizes:
        found += reader.push(text[at : at + size])
        at += size
    found += [*reader.push(text[at:]), *reader.flush()]
    told = {"thinking": "", "words": "", "calls": []}
    for event in found:
        if event.kind == "call":
            told["calls"].append([event.text, ""])
        elif event.kind == "arguments":
            told["calls"][-1][1] += event.text
        else:
            told[event.kind] += event.text
    return told


calls = st.builds(
    ToolCall,
    name=st.sampled_from(["look_up", "look", "add"]),
    arguments=st.dictionaries(
        st.sampled_from(["place", "n"]), st.one_of(st.integers(), st.text("ab{}\"\\'\n你", max_size=6)), max_size=2
    ),
)


@pytest.mark.parametrize("name", list(TOOL_FORMATS))
@settings(max_examples=40)
@given(data=st.data())
def test_calls_are_read_as_the_format_reads_them_when_whole(name, data):
    format = find_tool_format(name)
    several = name not in ("glm4",)
    wanted = data.draw(st.lists(calls, min_size=1, max_size=2 if several else 1))
    words = data.draw(st.sampled_from(["", "Let me see.", "One {moment} <please>"])) if format.marked else ""
    text = words + (format.joint if words else "") + format.write(wanted)
    whole = format.read(text, TOOLS)
    sizes = data.draw(st.lists(st.integers(1, 7), max_size=40))
    told = read(text, sizes, name)
    assert [(call, json.loads(arguments)) for call, arguments in told["calls"]] == [
        (call.name, dict(call.arguments)) for call in whole[1]
    ]
    assert told["words"] == whole[0].strip()


@given(sizes=st.lists(st.integers(1, 5), max_size=30))
def test_reasoning_words_and_calls_in_one_answer(sizes):
    text = (
        "<think>\nWhich? <tool_call>?\n</think>\n\nI call.\n"
        '<tool_call>\n{"name": "look_up", "arguments": {"a": "}"}}\n</tool_call>\n'
        '<tool_call>\n{"name": "add", "arguments": {}}\n</tool_call>'
    )
    told = read(text, sizes)
    assert told["thinking"].strip() == "Which? <tool_call>?"
    assert told["words"] == "I call."
    assert told["calls"] == [["look_up", '{"a": "}"}'], ["add", "{}"]]


def test_arguments_come_while_they_are_written():
    reader = AnswerReader(tools=TOOLS, tool_format="qwen")
    pieces = ['<tool_call>\n{"name": "look_up", "argu', 'ments": {"pla', 'ce": "Kö', 'ln"}', "}\n</tool_call>"]
    told = [[(event.kind, event.text) for event in reader.push(piece)] for piece in pieces]
    assert told == [[], [("call", "look_up"), ("arguments", '{"pla')], [("arguments", 'ce": "Kö')], [("arguments", 'ln"}')], []]
    assert list(reader.flush()) == []


@pytest.mark.parametrize(
    "text", ["<tool_call>\nno json\n</tool_call>", "<tool_call>", "a < b, <tool", '{"name": "look"}', "  two  blanks  in"]
)
def test_what_is_no_call_is_words(text):
    assert read(text, [3, 3, 3])["words"] == text.rstrip()
    assert read(text, [3, 3, 3])["calls"] == []


def test_a_call_of_a_tool_that_was_not_offered_is_told_when_whole():
    told = read('<tool_call>\n{"name": "fly", "arguments": {"to": 1}}\n</tool_call>', [5] * 8)
    assert told["calls"] == [["fly", '{"to": 1}']]


def test_words_behind_a_call_are_not_lost():
    told = read('<tool_call>\n{"name": "add", "arguments": {}}\n</tool_call>\nDone.', [5] * 8)
    assert told["calls"] == [["add", "{}"]]
    assert told["words"].strip() == "Done."


def test_a_cut_call_ends_where_it_was_cut():
    told = read('<tool_call>\n{"name": "add", "arguments": {"a": [1, 2', [])
    assert told["calls"] == [["add", '{"a": [1, 2']]
    assert told["words"] == ""


def test_without_tools_everything_is_words_but_hidden_tokens():
    text = '<|im_start|>Hi <tool_call>\n{"name": "add", "arguments": {}}\n</tool_call><|im_end|>'
    assert read(text, [], tools=(), hidden=["<|im_start|>", "<|im_end|>"])["words"] == text[12:-10]
