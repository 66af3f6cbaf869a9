"""Whether a dataset can give what a stage learns from; if not, an error that names both."""

from __future__ import annotations

from collections.abc import Sequence

from luthier.datasets.info import Entry
from luthier.errors import DataError
from luthier.types import Conversation, Preference, Prompt, Rated, Sample, Text

CAN_GIVE: dict[str, tuple[type[Sample], ...]] = {
    "conversation": (Conversation, Prompt),
    "preference": (Preference, Prompt),
    "rated": (Rated, Prompt),
    "text": (Text,),
}
HOLDS = {
    "conversation": "conversations",
    "preference": "preferences (ranking: true)",
    "rated": "rated answers (columns.kto_tag)",
    "text": "plain text (formatting: text)",
}
LEARNS_FROM = {
    Conversation: "conversations with answers (stage sft)",
    Preference: "preferences (stages rm and dpo)",
    Rated: "rated answers (stage kto)",
    Prompt: "prompts (predict, ppo, grpo)",
    Text: "plain text (stage pt)",
}


def check_wants(entries: Sequence[Entry], wants: type[Sample]) -> None:
    """Raises DataError, which names all of them, unless the rows of every entry can become samples of class wants."""
    others = [entry for entry in entries if not _can_give(entry, wants)]
    if others:
        said = ", ".join(f'dataset "{entry.name}" holds {HOLDS[entry.holds]}' for entry in others)
        raise DataError(f"{said}, but this stage needs {LEARNS_FROM[wants]}.", _remedy(others[0], wants))


def _can_give(entry: Entry, wants: type[Sample]) -> bool:
    return wants in CAN_GIVE[entry.holds] or (wants is Text and entry.holds == "conversation" and entry.formatting == "alpaca")


def _remedy(entry: Entry, wants: type[Sample]) -> str:
    if wants is Preference:
        return 'Rows with a chosen and a rejected answer need "ranking": true in dataset_info.json.'
    if wants is Rated:
        return 'Rows with a rating need "columns": {"kto_tag": ...} in dataset_info.json.'
    fitting = {"conversation": "sft", "preference": "dpo or rm", "rated": "kto", "text": "pt"}[entry.holds]
    return f"Set stage: {fitting}, or choose another dataset."
