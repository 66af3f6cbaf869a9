"""Does the answer call the right tool with the right arguments?"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from luthier.calls import Truth, truth_of, why_wrong
from luthier.types import ToolCall

TAGGED = re.compile(r"<tool_call>(.*?)</tool_call>", re.DOTALL)


def tool_call(
    completions: Sequence[str],
    reference: Sequence[str | None],
    ground_truth: Sequence[Sequence[Truth] | None] | None = None,
    tools: Sequence[Sequence[Mapping[str, Any]]] | None = None,
    **_: Any,
) -> list[float]:
    """1 for the same calls as are wanted, in any order; half for the same names with other arguments; else 0.

    Calls are JSON objects with "name" and "arguments" (or "parameters"), in <tool_call> tags or bare. Wanted are those of the
    reference, or of a column ground_truth as the Berkeley function-calling leaderboard writes it; arguments are compared as
    benchmarks compare them (luthier.calls), with the functions' own types where the row offers tools.
    Raises ValueError for a row that has neither.
    """
    rows = len(completions)
    pairs = zip(completions, reference, ground_truth or [None] * rows, tools or [()] * rows, strict=True)
    return [_score(list(calls(answer)), _wanted(given, truth), _described(offered)) for answer, given, truth, offered in pairs]


def _wanted(reference: str | None, truth: Sequence[Truth] | None) -> Sequence[Truth]:
    if truth is not None:
        return truth
    if reference is None:
        raise ValueError("a row has neither a given answer nor a column ground_truth: nothing says which call is right")
    return truth_of(list(calls(reference)))


def _described(offered: Any) -> list[Mapping[str, Any]]:
    """The functions of a row; none where its column tools holds something else."""
    return [tool for tool in offered or () if isinstance(tool, Mapping) and "name" in tool]


def _score(found: Sequence[ToolCall], truth: Sequence[Truth], tools: Sequence[Mapping[str, Any]]) -> float:
    if why_wrong(found, truth, tools) is None:
        return 1.0
    names = sorted(name for each in truth for name in each)
    return 0.5 * float(bool(names) and sorted(call.name for call in found) == names)


def calls(text: str) -> Iterator[ToolCall]:
    """The calls in text, bare ones alone or in its last line. One whose arguments are no object, nor JSON of one, is none."""
    bare = text if _read(text) is not None else text.rpartition("\n")[2]
    for piece in TAGGED.findall(text) or [bare]:
        parsed = _read(piece)
        for item in parsed if isinstance(parsed, list) else [parsed]:
            if isinstance(item, dict) and isinstance(item.get("name"), str):
                arguments = _read(item.get("arguments", item.get("parameters", {})))
                if isinstance(arguments, dict):
                    yield ToolCall(name=item["name"], arguments=arguments)


def _read(value: Any) -> Any:
    """What a JSON text says; None for another text, and anything else as it is."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return None
