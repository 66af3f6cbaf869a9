"""What can be told of a text without a model: its script, whether it declines, which control words stand in it.

Enters: text. Leaves: words and numbers for `luthier data check`. Judges by form only, never by meaning.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from luthier.types import Conversation, Message, Preference, Prompt, Rated, Sample, Text

REFUSAL_WITHIN_CHARS = 80
SCRIPTS = (
    ("ja", re.compile("[\u3040-\u30ff]")),
    ("ko", re.compile("[\uac00-\ud7af]")),
    ("zh", re.compile("[\u3400-\u9fff]")),
    ("cyrillic", re.compile("[\u0400-\u04ff]")),
    ("arabic", re.compile("[\u0600-\u06ff]")),
    ("latin", re.compile("[A-Za-z\u00c0-\u024f]+")),
)
SCRIPT_SHARE = 0.3
"""A script names a text when so much of its units (characters, for Latin words) are in it, tried in the order above."""


@cache
def phrases() -> dict[str, list[str]]:
    return yaml.safe_load((files("luthier.datasets") / "phrases.yaml").read_text(encoding="utf-8"))


def script_of(text: str) -> str:
    """zh, ja, ko, cyrillic, arabic, latin or other.

    >>> script_of("你好，Qwen"), script_of("Hello"), script_of("42"), script_of("こんにちは世界")
    ('zh', 'latin', 'other', 'ja')
    """
    counts = {name: len(pattern.findall(text)) for name, pattern in SCRIPTS}
    total = sum(counts.values())
    return next((name for name, count in counts.items() if count and count >= SCRIPT_SHARE * total), "other")


def is_refusal(answer: str) -> bool:
    """Whether the answer begins by declining."""
    head = answer.strip()[:REFUSAL_WITHIN_CHARS].lower().replace("’", "'")
    return any(phrase.lower() in head for phrase in phrases()["refusals"])


def control_words_in(text: str, words: list[str]) -> list[str]:
    """Those of words that stand in text."""
    return [word for word in words if word in text]


def messages_of(sample: Sample) -> tuple[Message, ...]:
    """All messages of a sample, answers of a preference included."""
    if isinstance(sample, Conversation):
        return sample.messages
    if isinstance(sample, Preference):
        return (*sample.prompt.messages, sample.chosen, sample.rejected)
    if isinstance(sample, Rated):
        return sample.conversation.messages
    if isinstance(sample, Prompt):
        return sample.conversation.messages
    return ()


def question_of(sample: Sample) -> str:
    """What is asked: the words of all turns but the assistant's; the text itself where there are no turns."""
    if isinstance(sample, Text):
        return sample.text
    return "\n".join(message.content for message in messages_of(sample) if message.role != "assistant")


def answer_of(sample: Sample) -> str:
    """What is answered: the words of the assistant's turns."""
    return "\n".join(message.content for message in messages_of(sample) if message.role == "assistant")


def plain(sample: Sample) -> dict[str, Any]:
    """A sample as plain JSON, for people and scripts."""
    if isinstance(sample, Text):
        return {"text": sample.text}
    shown: dict[str, Any] = {"messages": [_plain_message(message) for message in messages_of(sample)]}
    if isinstance(sample, Preference):
        shown = {
            "messages": [_plain_message(message) for message in sample.prompt.messages],
            "chosen": _plain_message(sample.chosen),
            "rejected": _plain_message(sample.rejected),
        }
    if isinstance(sample, Rated):
        shown["desirable"] = sample.desirable
    if isinstance(sample, Prompt):
        shown |= {"reference": sample.reference, "columns": dict(sample.columns)}
    conversation = getattr(sample, "conversation", None) or getattr(sample, "prompt", None) or sample
    if conversation.tools:
        shown["tools"] = list(conversation.tools)
    return shown


def _plain_message(message: Message) -> dict[str, Any]:
    shown: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.thinking is not None:
        shown["thinking"] = message.thinking
    if message.tool_calls:
        shown["tool_calls"] = [{"name": call.name, "arguments": dict(call.arguments)} for call in message.tool_calls]
    if message.weight is not None:
        shown["weight"] = message.weight
    return shown
