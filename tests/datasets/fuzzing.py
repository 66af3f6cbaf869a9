"""Random damage to valid rows, entries and files; and what a sample must look like whatever was done to its row."""

from __future__ import annotations

import copy
import random
from itertools import pairwise
from typing import Any

from luthier.types import Conversation, Message, Preference, Prompt, Rated, Sample, Text

CALL = {"name": "f", "arguments": {"x": 1}}
TOOLS = [{"name": "f", "description": "d", "parameters": {"type": "object"}}]
SHAREGPT = [
    {"from": "system", "value": "s"},
    {"from": "human", "value": "hi"},
    {"from": "function_call", "value": '<think>\nhm\n</think>\n\n{"name": "f", "arguments": {"x": 1}}'},
    {"from": "observation", "value": "1"},
    {"from": "gpt", "value": "hello", "weight": 0.5},
    {"from": "human", "value": "bye"},
    {"from": "gpt", "value": "goodbye", "train": True},
]
OPENAI = [
    {"role": "developer", "content": "s"},
    {"role": "user", "content": [{"type": "text", "text": "hi"}]},
    {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "function": CALL}], "reasoning_content": "hm"},
    {"role": "tool", "content": "1", "tool_call_id": "1"},
    {"role": "assistant", "content": "hello", "weight": 1},
]
KINDS: list[tuple[type[Sample], dict[str, Any], dict[str, Any]]] = [
    (
        Conversation,
        {"columns": {"history": "history", "system": "system", "tools": "tools"}},
        {
            "instruction": "a",
            "input": "b",
            "output": "<think>c</think>d",
            "history": [["e", "f"]],
            "system": "s",
            "tools": TOOLS,
        },
    ),
    (Preference, {"ranking": True}, {"instruction": "a", "chosen": "b", "rejected": "c"}),
    (Rated, {"columns": {"kto_tag": "label"}}, {"instruction": "a", "output": "b", "label": True}),
    (Prompt, {}, {"instruction": "a", "output": "b", "answer": 3}),
    (Text, {"formatting": "text"}, {"text": "once upon a time"}),
    (Text, {"columns": {"prompt": "text"}}, {"text": "once upon a time"}),
    (Conversation, {"formatting": "sharegpt", "columns": {"tools": "tools"}}, {"conversations": SHAREGPT, "tools": TOOLS}),
    (Prompt, {"formatting": "sharegpt"}, {"conversations": SHAREGPT}),
    (
        Preference,
        {"formatting": "sharegpt", "ranking": True},
        {"conversations": SHAREGPT[:2], "chosen": SHAREGPT[4], "rejected": "no"},
    ),
    (Rated, {"formatting": "sharegpt", "columns": {"kto_tag": "label"}}, {"conversations": SHAREGPT, "label": False}),
    (Conversation, {"formatting": "openai"}, {"messages": OPENAI, "tools": [{"type": "function", "function": TOOLS[0]}]}),
    (Preference, {"formatting": "openai", "ranking": True}, {"chosen": OPENAI, "rejected": OPENAI[:4] + OPENAI[4:]}),
]
ODD = (
    *(None, True, False, 0, -1, 3.5, 1e308, float("nan"), 2**70, "", " ", "a", "null", "[]", "{}", '{"name": "f"}', [], {}),
    *(
        [[]],
        [None],
        {"a": None},
        [{"role": "user"}],
        "<think>",
        "</think>",
        "<think>x</think>",
        "\x00",
        "\u2028",
        "中",
        "\U0001f600",
    ),
    *(
        "human",
        "gpt",
        "assistant",
        "tool",
        "system",
        "function_call",
        "<tool_call>{</tool_call>",
        "[" * 50,
        {"function": {}},
        "x" * 5000,
    ),
)


def damaged(value: Any, rng: random.Random) -> Any:
    """A copy of value with one to four random changes somewhere inside."""
    value = copy.deepcopy(value)
    for _ in range(rng.choice((1, 1, 2, 4))):
        value = _change(value, rng)
    return value


def _change(value: Any, rng: random.Random) -> Any:
    if isinstance(value, dict) and value and rng.random() < 0.85:
        key = rng.choice(list(value))
        action = rng.random()
        if action < 0.55:
            value[key] = _change(value[key], rng)
        elif action < 0.7:
            del value[key]
        elif action < 0.85:
            value[rng.choice((key + "x", "from", "role", "content", "value", "weight", "train", "type", ""))] = value.pop(key)
        else:
            value[rng.choice(("system", "input", "train", "weight", "tools", "images", "tool_calls"))] = rng.choice(ODD)
        return value
    if isinstance(value, list) and value and rng.random() < 0.85:
        at = rng.randrange(len(value))
        action = rng.random()
        if action < 0.55:
            value[at] = _change(value[at], rng)
        elif action < 0.7:
            del value[at]
        elif action < 0.85:
            value.insert(at, copy.deepcopy(rng.choice(value)))
        else:
            rng.shuffle(value)
        return value
    if isinstance(value, str) and value and rng.random() < 0.5:
        at = rng.randrange(len(value))
        return value[:at] + rng.choice(("", "{", '"', "\\", "</think>", "\n", "中")) + value[at + rng.choice((0, 1)) :]
    return copy.deepcopy(rng.choice(ODD))


def check_sample(sample: Sample, wants: type[Sample]) -> None:
    """Raises AssertionError unless sample keeps every promise of its class."""
    assert type(sample) is wants
    assert sample.origin is not None
    if isinstance(sample, Text):
        return _check_text(sample.text)
    if isinstance(sample, Preference):
        _check_turns(sample.prompt, answered=False)
        for answer in (sample.chosen, sample.rejected):
            assert answer.role == "assistant"
            _check_message(answer)
        return None
    if isinstance(sample, Rated):
        assert isinstance(sample.desirable, bool)
        return _check_turns(sample.conversation, answered=True)
    if isinstance(sample, Prompt):
        assert sample.reference is None or isinstance(sample.reference, str)
        return _check_turns(sample.conversation, answered=False)
    return _check_turns(sample, answered=True)


def _check_turns(conversation: Conversation, *, answered: bool) -> None:
    roles = [message.role for message in conversation.messages]
    assert "system" not in roles[1:]
    assert (roles[-1] == "assistant") is answered
    turns = roles[1:] if roles[0] == "system" else roles
    assert turns[0] == "user"
    assert not any(
        pair in (("user", "user"), ("assistant", "assistant"), ("tool", "user"), ("user", "tool")) for pair in pairwise(turns)
    )
    for message in conversation.messages:
        _check_message(message)
    for tool in conversation.tools:
        assert tool["name"]


def _check_message(message: Message) -> None:
    _check_text(message.content)
    assert message.thinking is None or isinstance(message.thinking, str)
    assert message.weight is None or (message.role == "assistant" and 0 <= message.weight < float("inf"))
    assert message.role == "assistant" or not (message.tool_calls or message.thinking)
    for call in message.tool_calls:
        assert call.name and isinstance(call.arguments, dict)


def _check_text(text: str) -> None:
    assert isinstance(text, str)
    text.encode()
