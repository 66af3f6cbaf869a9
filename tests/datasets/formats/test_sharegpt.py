import json

import pytest

from luthier.errors import DataError
from luthier.types import Conversation, Preference, Prompt, Rated

HI = {"from": "human", "value": "hi"}
HELLO = {"from": "gpt", "value": "hello"}
CALL = {"from": "function_call", "value": '{"name": "f", "arguments": {"x": 1}}'}
RESULT = {"from": "observation", "value": "42"}
TOOLS = [{"name": "f", "description": "d", "parameters": {"type": "object"}}]


def one(read, write, messages, *, wants=Conversation, more=None, **entry):
    write("rows.jsonl", [{"conversations": messages, **(more or {})}])
    return next(iter(read({"set": {"file_name": "rows.jsonl", "formatting": "sharegpt", **entry}}, wants=wants)))


def roles(sample):
    return [message.role for message in sample.messages]


def test_turns(read, write):
    sample = one(read, write, [{"from": "system", "value": "s"}, HI, HELLO, HI, CALL, RESULT, HELLO])
    assert roles(sample) == ["system", "user", "assistant", "user", "assistant", "tool", "assistant"]
    assert sample.messages[4].tool_calls[0].arguments == {"x": 1}


def test_own_system_wins_over_the_column(read, write):
    columns = {"system": "sys"}
    more = {"sys": "column"}
    assert one(read, write, [HI, HELLO], more=more, columns=columns).messages[0].content == "column"
    sample = one(read, write, [{"from": "system", "value": "own"}, HI, HELLO], more=more, columns=columns)
    assert [message.content for message in sample.messages] == ["own", "hi", "hello"]


@pytest.mark.parametrize("tools", [TOOLS, json.dumps(TOOLS), [{"type": "function", "function": TOOLS[0]}], TOOLS[0]])
def test_tools(read, write, tools):
    assert one(read, write, [HI, HELLO], more={"tools": tools}, columns={"tools": "tools"}).tools == tuple(TOOLS)


@pytest.mark.parametrize(
    ("value", "thinking", "content", "names"),
    [
        ('{"name": "f", "arguments": {"x": 1}}', None, "", ["f"]),
        ('{"name": "f", "arguments": "{\\"x\\": 1}"}', None, "", ["f"]),
        ('[{"name": "f", "arguments": {}}, {"name": "g", "arguments": {}}]', None, "", ["f", "g"]),
        ('<think>\nwhy\n</think>\n\n{"name": "f", "arguments": {}}', "why", "", ["f"]),
        ('I look it up.\n{"name": "f", "arguments": {}}', None, "I look it up.", ["f"]),
        (
            'Now: <tool_call>{"name": "f", "arguments": {}}</tool_call>\n<tool_call>{"name": "g"}</tool_call>',
            None,
            "Now:",
            ["f", "g"],
        ),
    ],
)
def test_function_calls(read, write, value, thinking, content, names):
    message = one(read, write, [HI, {"from": "function_call", "value": value}]).messages[1]
    assert (message.thinking, message.content, [call.name for call in message.tool_calls]) == (thinking, content, names)


def test_several_results_of_several_calls(read, write):
    assert roles(one(read, write, [HI, CALL, RESULT, RESULT, HELLO])) == ["user", "assistant", "tool", "tool", "assistant"]


def test_tags_that_are_not_listed_keep_their_defaults(read, write):
    tags = {"role_tag": "role", "content_tag": "text", "user_tag": "user"}
    messages = [{"role": "system", "text": "s"}, {"role": "user", "text": "a"}, {"role": "gpt", "text": "b"}]
    assert roles(one(read, write, messages, tags=tags)) == ["system", "user", "assistant"]


def test_train_and_weight(read, write):
    messages = [HI, {**HELLO, "train": False}, HI, {**HELLO, "weight": 0.5}, {**HI, "train": False}, {**HELLO, "train": True}]
    assert [message.weight for message in one(read, write, messages).messages] == [None, 0.0, None, 0.5, None, 1.0]


def test_preference_and_rating_and_prompt(read, write):
    more = {"chosen": HELLO, "rejected": {"from": "gpt", "value": "no"}}
    sample = one(read, write, [HI], wants=Preference, more=more, ranking=True)
    assert (roles(sample.prompt), sample.chosen.content, sample.rejected.content) == (["user"], "hello", "no")
    rated = one(read, write, [HI, HELLO], wants=Rated, more={"label": False}, columns={"kto_tag": "label"})
    assert rated.desirable is False
    prompt = one(read, write, [HI, HELLO, HI, CALL], wants=Prompt, more={"id": 7})
    assert (roles(prompt.conversation), prompt.columns) == (["user", "assistant", "user"], {"id": 7})
    assert json.loads(prompt.reference) == {"name": "f", "arguments": {"x": 1}}
    assert one(read, write, [HI], wants=Prompt).reference is None


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([HI], "has no answer to learn"),
        ([HI, HELLO, HI], "has no answer to learn"),
        ([], "has no messages"),
        ([HELLO], r"starts with an assistant turn \(message 1\) where a system or a user turn must stand"),
        ([HI, HI, HELLO], r"has after a user turn a user turn \(message 2\) where an assistant turn must stand"),
        ([HI, HELLO, HELLO], r"after an assistant turn an assistant turn \(message 3\)"),
        ([HI, CALL, RESULT, HI, HELLO], r"after a tool result turn a user turn"),
        ([HI, HELLO, {"from": "system", "value": "s"}], "a system turn"),
        ([{"from": "user", "value": "x"}, HELLO], r'has "user" in "from" of message 1 \(known: human, gpt, .*\n.*"tags"'),
        ([{"role": "user", "content": "x"}, HELLO], r'has no "from" of message 1 .*its keys: role, content'),
        ([{"from": "human"}, HELLO], r'has no "value" in message 1 \(keys: from\)'),
        ([{"from": "human", "value": {"a": 1}}, HELLO], 'has an object in "value"'),
        (["hi", HELLO], 'has "hi" as message 1'),
        ("hi", 'has "hi" in "conversations"'),
        ([HI, {"from": "function_call", "value": "call f"}], 'has no JSON function call in "value"'),
        ([HI, {"from": "function_call", "value": '{"name": "f", "arguments": '}], 'has broken JSON in "value"'),
        ([HI, {"from": "function_call", "value": '{"arguments": {}}'}], "has a call without a function name"),
        (
            [HI, {"from": "function_call", "value": '{"name": "f", "arguments": [1]}'}],
            'has a list as arguments of the call "f"',
        ),
        ([{**HI, "train": True}, HELLO], "asks to learn a user turn"),
        ([HI, {**HELLO, "weight": -1}], 'has -1 in "weight"'),
        ([HI, {**HELLO, "train": "yes"}], 'has "yes" in "train"'),
    ],
)
def test_bad_rows(read, write, messages, message):
    with pytest.raises(DataError, match=f"rows.jsonl row 1 .*{message}" if not message.startswith("rows") else message):
        one(read, write, messages)


def test_bad_preferences(read, write):
    with pytest.raises(DataError, match='has an answer at the end of "conversations"'):
        one(read, write, [HI, HELLO], wants=Preference, more={"chosen": "a", "rejected": "b"}, ranking=True)
    with pytest.raises(DataError, match='has no "rejected"'):
        one(read, write, [HI], wants=Preference, more={"chosen": "a"}, ranking=True)
    with pytest.raises(DataError, match='has a user turn at the end of "chosen"'):
        one(read, write, [HI], wants=Preference, more={"chosen": HI, "rejected": "b"}, ranking=True)


@pytest.mark.parametrize("tools", ['[{"name": ', "text", 5, [3], [{"description": "no name"}], '"quoted"'])
def test_bad_tools(read, write, tools):
    with pytest.raises(DataError, match=r'row 1 has .*"tools"'):
        one(read, write, [HI, HELLO], more={"tools": tools}, columns={"tools": "tools"})
