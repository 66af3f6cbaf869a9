import pytest

from luthier.errors import DataError
from luthier.types import Conversation, Preference

USER = {"role": "user", "content": "hi"}
ANSWER = {"role": "assistant", "content": "hello"}


def one(read, write, messages, *, wants=Conversation, more=None, **entry):
    write("rows.jsonl", [{"messages": messages, **(more or {})}])
    return next(iter(read({"set": {"file_name": "rows.jsonl", "formatting": "openai", **entry}}, wants=wants)))


def test_tool_calls_and_results(read, write):
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"x": [1, 2]}'}}
    other = {"id": "c2", "type": "function", "function": {"name": "g", "arguments": ""}}
    tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    sample = one(
        read,
        write,
        [
            {"role": "developer", "content": "Be brief."},
            USER,
            {"role": "assistant", "content": None, "tool_calls": [call, other], "reasoning_content": "look it up"},
            {"role": "tool", "content": "1", "tool_call_id": "c1"},
            {"role": "tool", "content": [{"type": "text", "text": "2"}], "tool_call_id": "c2"},
            ANSWER,
        ],
        more={"tools": tools},
    )
    assert [message.role for message in sample.messages] == ["system", "user", "assistant", "tool", "tool", "assistant"]
    calling = sample.messages[2]
    assert (calling.thinking, calling.content) == ("look it up", "")
    assert [(c.name, c.arguments, c.id) for c in calling.tool_calls] == [("f", {"x": [1, 2]}, "c1"), ("g", {}, "c2")]
    assert sample.tools == ({"name": "f", "parameters": {}},)
    assert sample.messages[0].content == "Be brief.", "nothing is added to the system prompt"


def test_parts(read, write):
    parts = [{"type": "reasoning", "value": "hm"}, {"type": "text", "value": "a"}, {"type": "text", "text": "b"}, "c"]
    answer = one(read, write, [USER, {"role": "assistant", "content": parts}]).messages[1]
    assert (answer.thinking, answer.content) == ("hm", "abc")


def test_weights(read, write):
    sample = one(read, write, [USER, {**ANSWER, "weight": 0}, USER, {**ANSWER, "weight": 1}])
    assert [message.weight for message in sample.messages] == [None, 0.0, None, 1.0]


def test_whole_conversations_as_chosen_and_rejected(read, write):
    more = {"chosen": [USER, ANSWER], "rejected": [USER, {"role": "assistant", "content": "no"}]}
    write("rows.jsonl", [more])
    info = {"set": {"file_name": "rows.jsonl", "formatting": "openai", "ranking": True}}
    sample = next(iter(read(info, wants=Preference)))
    assert [message.content for message in sample.prompt.messages] == ["hi"]
    assert (sample.chosen.content, sample.rejected.content) == ("hello", "no")
    more["rejected"] = [{"role": "user", "content": "other"}, ANSWER]
    write("rows.jsonl", [more])
    with pytest.raises(DataError, match="to different conversations"):
        list(read(info, wants=Preference))


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([USER, {"role": "assistant"}], "has neither words nor tool_calls in message 2"),
        ([{"role": "user", "content": None}, ANSWER], 'has no "content" in message 1'),
        (
            [USER, {"role": "assistant", "content": "x", "tool_calls": [{"id": "c"}]}],
            'a call without a function name in "tool_calls"',
        ),
        (
            [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}, ANSWER],
            'a part of type "image_url"',
        ),
        ([{"role": "critic", "content": "x"}, ANSWER], 'has "critic" in "role" of message 1'),
    ],
)
def test_bad_rows(read, write, messages, message):
    with pytest.raises(DataError, match=f"rows.jsonl row 1 .*{message}"):
        one(read, write, messages)
