"""Does the answer call the right tool with the right arguments?"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

TAGGED = re.compile(r"<tool_call>(.*?)</tool_call>", re.DOTALL)


def tool_call(completions: Sequence[str], reference: Sequence[str | None], **_: Any) -> list[float]:
    """1 for the same calls as in the reference, in any order; half for the same names with other arguments; else 0.

    Calls are JSON objects with "name" and "arguments" (or "parameters"), in <tool_call> tags or bare.
    """
    return [
        _score(list(calls(answer)), list(calls(wanted or ""))) for answer, wanted in zip(completions, reference, strict=True)
    ]


def _score(found: list[dict[str, Any]], wanted: list[dict[str, Any]]) -> float:
    if not wanted or not found:
        return float(not wanted and not found)
    if sorted(map(_key, found)) == sorted(map(_key, wanted)):
        return 1.0
    return 0.5 * float(sorted(call["name"] for call in found) == sorted(call["name"] for call in wanted))


def _key(call: dict[str, Any]) -> str:
    return json.dumps(call, sort_keys=True)


def calls(text: str) -> Iterator[dict[str, Any]]:
    """The calls in text, as {"name", "arguments"}."""
    for piece in TAGGED.findall(text) or [text]:
        try:
            parsed = json.loads(piece)
        except ValueError:
            continue
        for item in parsed if isinstance(parsed, list) else [parsed]:
            if isinstance(item, dict) and isinstance(item.get("name"), str):
                yield {"name": item["name"], "arguments": item.get("arguments", item.get("parameters", {}))}
