"""What a request asks an answer to look like, as a grammar: JSON of a schema, calls of given tools, reasoning before either.

Enters: schemas, tools, the tokenizer's control words. Leaves: text in the Lark dialect of llguidance (engines/grammar.py).
Never: checks a schema; who compiles the grammar does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from luthier.engines.grammar import COMPACT
from luthier.templates.tools import find_tool_format
from luthier.types import ToolCall
from luthier.workflows.call_shape import NAME, shape_of
from luthier.workflows.thinking_stream import CLOSING, OPENING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TEXT = "TEXT: /(.|\\n)*/"
"""Anything but control words."""

ANY_OBJECT: Mapping[str, Any] = {"type": "object"}


class Grammarian:
    """Writes grammars for one tokenizer, whose control words are tokens and no letters."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase):
        self._control = {str(word): id for id, word in tokenizer.added_tokens_decoder.items()}
        self._cut = re.compile("|".join(sorted(map(re.escape, self._control), key=len, reverse=True)) or r"(?!)")

    def json(self, schema: Mapping[str, Any], *, reasoning: str) -> str:
        """An answer that is JSON of a schema. reasoning: "opened" by the prompt, "possible", or "none"."""
        rules = [TEXT, f"value: {_json(schema)}"]
        return "\n".join([f"start: {self._reasoning(reasoning, rules)}value", *rules])

    def calls(
        self,
        tools: Sequence[Mapping[str, Any]],
        tool_format: str,
        *,
        reasoning: str,
        required: bool,
        many: bool,
    ) -> str:
        """An answer that calls tools. required: there are no words instead.  many: there may be several calls.

        Where the format writes arguments as JSON they follow the tool's schema; elsewhere the tool's name is fixed and the
        arguments are free.
        """
        format = find_tool_format(tool_format)
        shape = shape_of(format)
        rules = [TEXT]
        names = [f"call{number}" for number in range(len(tools))]
        if shape:
            for name, tool in zip(names, tools):
                rules.append(f"{name}: {self._words(shape.head(tool['name']))} {name}args {self._words(shape.tail)}")
                rules.append(f"{name}args: {_json(tool.get('parameters') or NO_ARGUMENTS)}")
            again = f" ({self._words(shape.between)} call)*" if many and shape.many else ""
            calls = f"{self._words(shape.opening)} call{again} {self._words(shape.closing)}"
        else:
            for name, tool in zip(names, tools):
                start, _, end = format.write([ToolCall(name=NAME, arguments={})]).lstrip().partition(NAME)
                rules.append(f"{name}: {self._words(start + tool['name'])} {self._free_until(_last_word(end), rules)}")
            calls = "call"
        rules.append(f"call: {' | '.join(names)}")
        start = self._reasoning(reasoning, rules) + (calls if required else f"TEXT ({calls})?")
        return "\n".join([f"start: {start}", *rules])

    def _reasoning(self, kind: str, rules: list[str]) -> str:
        if kind == "none":
            return ""
        ending = f"{self._free_until(CLOSING, rules)} /\\n{{0,2}}/ "
        return ending if kind == "opened" else f"({self._words(OPENING)} {ending})? "

    def _words(self, text: str) -> str:
        """Fixed text, its control words as tokens."""
        parts, at = [], 0
        for match in self._cut.finditer(text):
            parts += [_quoted(text[at : match.start()]), f"<[{self._control[match[0]]}]>"]
            at = match.end()
        return " ".join(part for part in [*parts, _quoted(text[at:])] if part)

    def _free_until(self, words: str, rules: list[str]) -> str:
        if words in self._control:
            return f"TEXT <[{self._control[words]}]>"
        rules.append(f"free{len(rules)}[suffix={json.dumps(words)}]: /(.|\\n)*/")
        return f"free{len(rules) - 1}"


NO_ARGUMENTS: Mapping[str, Any] = {"type": "object", "properties": {}, "additionalProperties": False}
"""The schema of a tool that names no parameters."""


def _json(schema: Mapping[str, Any]) -> str:
    return "%json " + json.dumps({**schema, "x-guidance": COMPACT}, ensure_ascii=False)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False) if text else ""


def _last_word(text: str) -> str:
    """The words that close the last of nested tags: "</function>\\n</tool_call>" -> "</tool_call>"."""
    return text[text.rstrip().rfind("<") :].strip() if "<" in text else text.strip()[-1:]
