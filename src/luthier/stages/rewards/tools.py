"""Does the answer call the right tool with the right arguments?"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

TAGGED = re.compile(r"<tool_call>(.*?)</tool_call>", re.DOTALL)


def tool_call(
    completions: Sequence[str], reference: Sequence[str | None], ground_truth: Sequence[Any] | None = None, **_: Any
) -> list[float]:
    """1 for the same calls as are wanted, in any order; half for the same names with other arguments; else 0.

    Calls are JSON objects with "name" and "arguments" (or "parameters"), in <tool_call> tags or bare. Wanted are those of the
    reference, or of a column ground_truth as the Berkeley function-calling leaderboard writes it: a list of
    {name: {argument: [values that are right]}}, where "" among the values means that the argument may be left out.
    Raises ValueError for a row that has neither.
    """
    truths = ground_truth or [None] * len(completions)
    scores = []
    for answer, wanted, truth in zip(completions, reference, truths, strict=True):
        found = list(calls(answer))
        if truth is not None:
            scores.append(_score_choices(found, truth))
        elif wanted is not None:
            scores.append(_score(found, list(calls(wanted))))
        else:
            raise ValueError("a row has neither a given answer nor a column ground_truth: nothing says which call is right")
    return scores


def _score_choices(found: list[dict[str, Any]], truth: Sequence[dict[str, dict[str, list[Any]]]]) -> float:
    wanted = [(name, choices) for entry in truth for name, choices in entry.items()]
    if not wanted or not found:
        return float(not wanted and not found)
    if sorted(call["name"] for call in found) != sorted(name for name, _ in wanted):
        return 0.0
    left = list(found)
    for name, choices in wanted:
        right = next((call for call in left if call["name"] == name and _fits(call["arguments"], choices)), None)
        if right is None:
            return 0.5
        left.remove(right)
    return 1.0


def _fits(arguments: Any, choices: dict[str, list[Any]]) -> bool:
    if not isinstance(arguments, dict) or not arguments.keys() <= choices.keys():
        return False
    return all(arguments[key] in right if key in arguments else "" in right for key, right in choices.items())


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
