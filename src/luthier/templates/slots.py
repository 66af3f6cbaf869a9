"""The texts of a named template, made ready for one tokenizer.

In: a slot of a family file, such as "<|im_start|>user\\n{{content}}<|im_end|>\\n". Out: units, each tokenised on its own:
text with a place for the content, or the id of a token. {{bos}}, {{eos}} and {{token:x}} are ids and so divide the text, as
{{|}} does.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from luthier.templates.guard import Guard

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_SPECIAL = re.compile(r"\{\{(bos|eos|\||token:[^}]+)\}\}")
CONTENT = "{{content}}"

Unit = str | int  # finished text to tokenise, or a token id


@dataclass(frozen=True, slots=True)
class Slot:
    """parts: ids, and finished texts as (before, after) the content, or (text, None) where there is no content."""

    parts: tuple[int | tuple[str, str | None], ...]

    @classmethod
    def of(cls, text: str, guard: Guard, tokenizer: PreTrainedTokenizerFast) -> Slot:
        parts: list[int | tuple[str, str | None]] = []
        for k, piece in enumerate(_SPECIAL.split(text)):
            if k % 2 == 0:
                before, found, after = piece.partition(CONTENT)
                parts += [(guard.finish(before), guard.finish(after) if found else None)] if piece else []
            elif piece.startswith("token:"):
                word = piece.removeprefix("token:")
                token = tokenizer.backend_tokenizer.token_to_id(word)
                parts.append((word, None) if token is None else token)
            elif piece != "|":
                token = tokenizer.bos_token_id if piece == "bos" else tokenizer.eos_token_id
                parts += [] if token is None else [token]
        return cls(tuple(parts))

    def fill(self, content: str = "") -> list[Unit]:
        """content: finished text."""
        units: list[Unit] = []
        for part in self.parts:
            unit = part if isinstance(part, int) else part[0] if part[1] is None else part[0] + content + part[1]
            if unit != "":
                units.append(unit)
        return units


def lay_out(units: Sequence[Unit], ids: dict[str, list[int]]) -> list[int]:
    """The units as ids, given the ids of their texts."""
    out: list[int] = []
    for unit in units:
        if isinstance(unit, int):
            out.append(unit)
        else:
            out += ids[unit]
    return out
