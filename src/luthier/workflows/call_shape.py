"""How a tool format lays out its calls: the fixed words around names and arguments, found by having it write examples.

    qwen      <tool_call>\\n{"name": "NAME", "arguments":  ARGS  }\\n</tool_call>
              head                                        args  tail              between calls: \\n
    mistral   [  {"name": "NAME", "arguments":  ARGS  }  ]
              opening  head                     args  tail  closing                between calls: ", "

Enters: a format of templates/tools. Leaves: its shape, for reading calls while they come and for grammars that force them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from luthier.errors import TemplateError
from luthier.templates.tools.base import ToolFormat, to_json
from luthier.types import ToolCall

NAME, ARGUMENTS = "qzname", {"qzkey": "qzvalue"}


@dataclass(frozen=True, slots=True)
class CallShape:
    """A format whose arguments are one JSON object. many: whether several calls can stand in one answer.

    opening and closing surround all calls, head (with the name) and tail each one, between stands between two.
    """

    format: ToolFormat
    opening: str
    _head: str
    tail: str
    between: str
    closing: str
    many: bool

    def head(self, name: str) -> str:
        return self._head.replace(NAME, name)


def shape_of(format: ToolFormat) -> CallShape | None:
    """None for a format that writes arguments otherwise than as one JSON object."""
    call, args = ToolCall(name=NAME, arguments=ARGUMENTS), to_json(ARGUMENTS)
    one = format.write([call])
    if one.count(args) != 1:
        return None
    before, after = one.split(args)
    try:
        parts = format.write([call, call]).split(args)
    except TemplateError:
        parts = []
    if len(parts) != 3 or (parts[0], parts[2]) != (before, after):
        return CallShape(format, "", before, after, "", "", many=False)
    middle = parts[1]
    head = _common_end(before, middle)
    tail = _common_start(after, middle[: len(middle) - len(head)])
    between = middle[len(tail) : len(middle) - len(head)]
    return CallShape(format, before.removesuffix(head), head, tail, between, after.removeprefix(tail), many=True)


def marks_of(format: ToolFormat, names: Iterable[str]) -> tuple[str, ...]:
    """Words at which a call surely begins; for a format without any, the names themselves."""
    texts = [format.write([ToolCall(name=name, arguments={})]).lstrip() for name in (NAME, NAME[::-1])]
    start = _common_start(*texts)
    if word := next((word for word in format.words if start.startswith(word)), None):
        return (word,)
    if not start.strip():
        return tuple(f"{name}\n" for name in names)
    return tuple({start.rstrip(), _start_of_two(format) or start.rstrip()})


def _start_of_two(format: ToolFormat) -> str:
    """A list of calls may begin otherwise than one call: "[{" and "{" in llama3."""
    try:
        texts = [format.write([ToolCall(name=name, arguments={})] * 2).lstrip() for name in (NAME, NAME[::-1])]
    except TemplateError:
        return ""
    return _common_start(*texts).rstrip()


def _common_start(a: str, b: str) -> str:
    return a[: next((at for at, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))]


def _common_end(a: str, b: str) -> str:
    return _common_start(a[::-1], b[::-1])[::-1]
