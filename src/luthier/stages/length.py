"""What happens to a conversation longer than cutoff_len: truncate, drop, split or error. Nothing is cut in silence.

Truncation shares the room between prompt and answer by LLaMA-Factory's rule, but never cuts the generation header off a
prompt nor the end-of-turn off an answer: the cut falls before them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from luthier.errors import DataError
from luthier.types import Conversation, Message, Origin, Turn

if TYPE_CHECKING:
    from luthier.templates.base import Template


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """header: tokens of the template at the end of every prompt (end of the user's turn, start of the assistant's).
    closing: tokens of the template at the end of every answer (its end-of-turn)."""

    header: int
    closing: int


def frame_of(template: Template) -> Frame:
    """Measured, so that it holds for any template: what two prompts, and two answers, have in common at their ends."""
    turns = [
        template.encode(Conversation(messages=(Message(role="user", content=word), Message(role="assistant", content=word))))[0]
        for word in ("7", "x")
    ]
    return Frame(
        header=_common_suffix(turns[0].prompt, turns[1].prompt), closing=_common_suffix(turns[0].answer, turns[1].answer)
    )


def _common_suffix(a: tuple[int, ...], b: tuple[int, ...]) -> int:
    count = 0
    while count < min(len(a), len(b)) and a[-1 - count] == b[-1 - count]:
        count += 1
    return count


def shared_room(prompt: int, answer: int, room: int) -> tuple[int, int]:
    """How many tokens of prompt and answer may stay: a short side stays whole, else both shrink in proportion.

    >>> shared_room(3000, 2000, 1000), shared_room(1000, 100, 1000), shared_room(100, 1000, 1000)
    ((600, 400), (900, 100), (100, 900))
    """
    if answer * 2 < room:
        kept_answer = answer
    elif prompt * 2 < room:
        kept_answer = room - prompt
    else:
        kept_answer = int(room * answer / (prompt + answer))
    kept_answer = min(kept_answer, answer)
    return min(room - kept_answer, prompt), kept_answer


def fit(turns: list[Turn], cutoff_len: int, overflow: str, frame: Frame, origin: Origin | None) -> tuple[list[list[Turn]], int]:
    """The turns of one conversation as pieces of cutoff_len tokens at the most, and how many tokens were lost.

    overflow: "truncate" (cut turns, then leave out the rest), "drop" (no piece), "split" (whole turns, several pieces;
    a single turn that is too long is truncated), "error" (DataError).
    """
    total = sum(_length(turn) for turn in turns)
    if total <= cutoff_len:
        return [turns], 0
    if overflow == "error":
        raise DataError(
            f"{origin or 'a sample'} has {total} tokens, more than cutoff_len {cutoff_len}.",
            f"Raise cutoff_len to {total}, or set overflow to truncate, split or drop.",
        )
    if overflow == "drop":
        return [], total
    groups = _whole_turns(turns, cutoff_len) if overflow == "split" else [turns]
    pieces = [piece for group in groups if (piece := _truncated(group, cutoff_len, frame))]
    return pieces, total - sum(_length(turn) for piece in pieces for turn in piece)


def fit_pair(
    pair: Sequence[Turn], cutoff_len: int, overflow: str, frame: Frame, origin: Origin | None
) -> tuple[list[Turn], int] | None:
    """Two answers (each with its prompt in one Turn) cut alike, to cutoff_len tokens each, and how many tokens were lost.

    The longer answer decides how much of the prompt stays, so that both are judged after the same words.  None: left out.
    """
    lost = [max(0, _length(turn) - cutoff_len) for turn in pair]
    if not any(lost):
        return list(pair), 0
    if overflow == "error":
        raise DataError(
            f"{origin or 'a sample'} has an answer of {max(map(_length, pair))} tokens with its prompt, more than cutoff_len "
            f"{cutoff_len}.",
            f"Raise cutoff_len to {max(map(_length, pair))}, or set overflow to truncate or drop.",
        )
    if overflow == "drop" or cutoff_len <= frame.header + frame.closing + 1:
        return None
    longest = max(pair, key=lambda turn: len(turn.answer))
    kept = len(_shortened(longest, cutoff_len, frame).prompt)
    cut = [_with_prompt(turn, kept, cutoff_len, frame) for turn in pair]
    return cut, sum(map(_length, pair)) - sum(map(_length, cut))


def _with_prompt(turn: Turn, kept: int, room: int, frame: Frame) -> Turn:
    """At most `kept` tokens of the prompt, and as much of the answer as then has room."""
    prompt = _cut(turn.prompt, kept, frame.header)
    return Turn(prompt=prompt, answer=_cut(turn.answer, room - len(prompt), frame.closing), weight=turn.weight)


def _length(turn: Turn) -> int:
    return len(turn.prompt) + len(turn.answer) + len(turn.tail)


def _whole_turns(turns: list[Turn], room: int) -> list[list[Turn]]:
    groups: list[list[Turn]] = [[]]
    for turn in turns:
        if groups[-1] and sum(map(_length, groups[-1])) + _length(turn) > room:
            groups.append([])
        groups[-1].append(turn)
    return groups


def _truncated(turns: list[Turn], room: int, frame: Frame) -> list[Turn]:
    kept: list[Turn] = []
    for turn in turns:
        if _length(turn) > room:
            if room <= frame.header + frame.closing + 1:  # no room for a single word of the answer
                break
            turn = _shortened(turn, room, frame)
        kept.append(turn)
        room -= _length(turn)
    return kept


def _shortened(turn: Turn, room: int, frame: Frame) -> Turn:
    prompt, answer = shared_room(len(turn.prompt), len(turn.answer), room)
    prompt = max(prompt, min(frame.header, len(turn.prompt)))
    answer = max(min(room - prompt, answer), min(frame.closing + 1, len(turn.answer)))
    prompt = min(prompt, room - answer)
    return Turn(
        prompt=_cut(turn.prompt, prompt, frame.header),
        answer=_cut(turn.answer, answer, frame.closing),
        tail=(),
        weight=turn.weight,
    )


def _cut(ids: tuple[int, ...], keep: int, ending: int) -> tuple[int, ...]:
    """keep tokens of ids; the last `ending` of them survive.

    >>> _cut((1, 2, 3, 4, 5, 6), 4, 2)
    (1, 2, 5, 6)
    """
    if keep >= len(ids):
        return ids
    ending = min(ending, keep)
    return ids[: keep - ending] + ids[len(ids) - ending :]
