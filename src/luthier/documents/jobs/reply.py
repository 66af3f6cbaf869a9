"""What an answer says: its words, its reasoning from whichever field or tag a provider uses, and the JSON in it.

Enters: the body of a chat completion. Leaves: a Reply; and from its words, JSON that was repaired where that is safe.
"""

from __future__ import annotations

import ast
import json
import re
from typing import Any, NamedTuple

REASONING_FIELDS = ("reasoning_content", "reasoning", "thinking", "thoughts")
THINK = re.compile(r"^\s*(?:<(think|thinking|thought|reasoning)>(.*?)</\1>|(?P<open>.*?)</think>)\s*", re.DOTALL)
FENCE = re.compile(r"```(?:json|JSON)?\s*\n?(.*?)```", re.DOTALL)


class BadReply(Exception):
    """The answer is no use. code: short, for counts; str(): what to tell the model when it is asked once more."""

    def __init__(self, code: str, message: str):
        self.code = code
        super().__init__(message)


class Reply(NamedTuple):
    """thinking_origin: the field or tag that it was read from; None where there was none."""

    text: str
    thinking: str | None
    thinking_origin: str | None
    finish_reason: str
    tokens_in: int
    tokens_out: int
    model: str


def read_reply(body: bytes) -> Reply:
    """Raises BadReply where the body is no chat completion."""
    try:
        data = json.loads(body)
        choice = data["choices"][0]
        message = choice["message"]
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, IndexError, TypeError):
        raise BadReply("not_openai", "the body is no chat completion") from None
    words = message.get("content") or ""
    if isinstance(words, list):
        words = "".join(part.get("text") or "" for part in words if isinstance(part, dict))
    thinking, origin = None, None
    for field in REASONING_FIELDS:
        value = message.get(field)
        if isinstance(value, str) and value.strip():
            thinking, origin = value.strip(), field
            break
    if match := THINK.match(words):
        inner = match.group(2) if match.group(1) else match["open"]
        words = words[match.end() :]
        if thinking is None and inner.strip():
            thinking, origin = inner.strip(), f"<{match.group(1) or 'think'}>"
    usage = data.get("usage") or {}
    return Reply(
        text=words.strip(),
        thinking=thinking,
        thinking_origin=origin,
        finish_reason=str(choice.get("finish_reason") or ""),
        tokens_in=int(usage.get("prompt_tokens") or 0),
        tokens_out=int(usage.get("completion_tokens") or 0),
        model=str(data.get("model") or ""),
    )


def read_json(text: str) -> Any:
    """The first JSON object or array in text. Raises BadReply where there is none."""
    for candidate in _candidates(text):
        for repair in (lambda t: t, _without_commas, _closed):
            try:
                return json.loads(repair(candidate), strict=False)
            except (json.JSONDecodeError, ValueError):
                continue
        try:
            value = ast.literal_eval(candidate)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
        if isinstance(value, (dict, list)):
            return value
    raise BadReply("not_json", "the answer holds no JSON; give the JSON alone, with no words around it")


def _candidates(text: str) -> list[str]:
    found = [match.group(1).strip() for match in FENCE.finditer(text)]
    starts = [at for at in (text.find("{"), text.find("[")) if at >= 0]
    if starts:
        start = min(starts)
        end = max(text.rfind("}"), text.rfind("]")) + 1
        found += [text[start:end], text[start:]] if end > start else [text[start:]]
    return [candidate for candidate in found if candidate[:1] in "{["]


def _without_commas(text: str) -> str:
    return re.sub(r",\s*([}\]])", r"\1", text)


def _closed(text: str) -> str:
    """An array that was cut off, after its last whole object. Raises ValueError where there is none."""
    end = text.rfind("}")
    if not text.startswith("[") or end < 0:
        raise ValueError
    return text[: end + 1] + "]"
