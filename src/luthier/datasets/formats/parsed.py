"""What every format makes of a row first, and the sample that is wanted made from that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from luthier.datasets.formats.messages import bad_row, calls_as_text
from luthier.types import Conversation, Message, Origin, Preference, Prompt, Rated, Sample


@dataclass(slots=True, kw_only=True)
class Parsed:
    """A row, understood. messages end with an answer, or with a user or tool turn where the row has no answer.

    chosen, rejected: the two answers of a preference.  desirable: the rating.  columns: what else the row holds.
    """

    messages: list[Message]
    tools: tuple[Mapping[str, Any], ...] = ()
    chosen: Message | None = None
    rejected: Message | None = None
    desirable: bool | None = None
    columns: Mapping[str, Any] = field(default_factory=dict)


def make_sample(parsed: Parsed, wants: type[Sample], origin: Origin) -> Sample:
    """The sample of class wants. Raises DataError when the row lacks what that needs."""
    if wants is Conversation:
        return _answered(parsed, origin)
    if wants is Preference:
        prompt = Conversation(messages=tuple(parsed.messages), tools=parsed.tools, origin=origin)
        return Preference(prompt=prompt, chosen=parsed.chosen, rejected=parsed.rejected, origin=origin)
    if wants is Rated:
        return Rated(conversation=_answered(parsed, origin), desirable=parsed.desirable, origin=origin)
    return _prompt(parsed, origin)


def _answered(parsed: Parsed, origin: Origin) -> Conversation:
    if not parsed.messages or parsed.messages[-1].role != "assistant":
        raise bad_row(
            origin, "has no answer to learn: its last turn is not the assistant's", "Add the answer or delete the row."
        )
    return Conversation(messages=tuple(parsed.messages), tools=parsed.tools, origin=origin)


def _prompt(parsed: Parsed, origin: Origin) -> Prompt:
    messages, reference = parsed.messages, parsed.chosen
    if messages[-1].role == "assistant":
        messages, reference = messages[:-1], messages[-1]
    conversation = Conversation(messages=tuple(messages), tools=parsed.tools, origin=origin)
    text = None if reference is None else reference.content
    if reference is not None and reference.tool_calls:
        text = "\n".join(filter(None, (reference.content, calls_as_text(reference.tool_calls))))
    return Prompt(conversation=conversation, reference=text, columns=parsed.columns, origin=origin)
