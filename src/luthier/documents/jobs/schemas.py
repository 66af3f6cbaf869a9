"""JSON schemas of answers, for servers that hold a model to one (endpoint.json_mode: schema).

They say what steps/ read anyway, with an object outermost as such servers want it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TEXT = {"type": "string", "minLength": 1}
SCORE = {"type": "number", "minimum": 0, "maximum": 10}


def _object(**properties: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _list(of: Mapping[str, Any], least: int, most: int) -> dict[str, Any]:
    return {"type": "array", "items": of, "minItems": least, "maxItems": most}


ANSWER = _object(answer=TEXT, quotes=_list(TEXT, 0, 4))
VERDICT = _object(supported=SCORE, useful=SCORE, reason={"type": "string"})


def questions(count: int) -> dict[str, Any]:
    """Exactly so many questions."""
    return _object(questions=_list(_object(question=TEXT, type=TEXT, difficulty=TEXT), count, count))


def dialogue(turns: int) -> dict[str, Any]:
    """Question and answer in turn, at most so many pairs."""
    turn = _object(role={"enum": ["user", "assistant"]}, content=TEXT)
    return _object(turns=_list(turn, 2, 2 * turns), quotes=_list(TEXT, 0, 4))
