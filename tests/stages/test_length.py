"""Over-long conversations: LLaMA-Factory's shares, but headers and end-of-turn survive, and every lost token is counted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luthier.errors import DataError
from luthier.stages.length import Frame, fit, shared_room
from luthier.types import Turn

FRAME = Frame(header=3, closing=1)
HEADER, CLOSING = (901, 902, 903), (999,)


def turn(prompt: int, answer: int) -> Turn:
    return Turn(prompt=(*range(prompt - 3), *HEADER), answer=(*range(500, 500 + answer - 1), *CLOSING), tail=(10,))


def test_the_truth_table_of_shares():
    """LLaMA-Factory's tests/data/processor/test_processor_utils.py as facts: (prompt, answer, room) -> kept."""
    assert shared_room(3000, 2000, 1000) == (600, 400)
    assert shared_room(2000, 3000, 1000) == (400, 600)
    assert shared_room(1000, 100, 1000) == (900, 100)
    assert shared_room(100, 1000, 1000) == (100, 900)


@given(st.integers(4, 300), st.integers(2, 300), st.integers(8, 200))
def test_truncation_keeps_header_and_end_of_turn(prompt, answer, cutoff):
    pieces, cut = fit([turn(prompt, answer)], cutoff, "truncate", FRAME, None)
    (piece,) = pieces
    (kept,) = piece
    assert len(kept.prompt) + len(kept.answer) + len(kept.tail) <= cutoff
    assert kept.prompt[-3:] == HEADER and kept.answer[-1:] == CLOSING
    assert cut == prompt + answer + 1 - len(kept.prompt) - len(kept.answer) - len(kept.tail)


def test_drop_split_and_error():
    turns = [turn(10, 10), turn(10, 10), turn(10, 10)]
    assert fit(turns, 50, "drop", FRAME, None) == ([], 63)
    pieces, cut = fit(turns, 50, "split", FRAME, None)
    assert [len(piece) for piece in pieces] == [2, 1] and cut == 0
    with pytest.raises(DataError, match="has 63 tokens, more than cutoff_len 50"):
        fit(turns, 50, "error", FRAME, None)


def test_a_later_turn_without_room_is_left_out_and_counted():
    pieces, cut = fit([turn(10, 10), turn(10, 10)], 22, "truncate", FRAME, None)
    assert [len(piece) for piece in pieces] == [1] and cut == 21
