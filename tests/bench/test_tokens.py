"""When two encodings are the same work, by hand.

ids      5 6 7 8 9      our labels  - - 7 8 -      the peer's  - - 7 8 9   (9 is the newline after the end-of-turn 8)
"""

from bench.tokens import TokenRow, count_supervised, first_difference, read_tokens, tail_labels, write_tokens

OURS = TokenRow(input_ids=[5, 6, 7, 8, 9], labels=[-100, -100, 7, 8, -100])
THEIRS = TokenRow(input_ids=[5, 6, 7, 8, 9], labels=[-100, -100, 7, 8, 9])


def test_what_the_peer_learns_after_an_end_of_turn_is_no_difference_but_counted():
    assert first_difference([OURS], [THEIRS]) is None
    assert tail_labels([OURS], [THEIRS]) == 1
    assert count_supervised([OURS, THEIRS]) == 5


def test_other_ids_labels_or_counts_are_differences():
    other_id = TokenRow(input_ids=[5, 6, 7, 1, 9], labels=OURS.labels)
    assert first_difference([OURS], [other_id]) == "row 1: ids differ from token 3 on"
    prompt_learned = TokenRow(input_ids=OURS.input_ids, labels=[-100, 6, 7, 8, 9])
    assert first_difference([OURS, OURS], [THEIRS, prompt_learned]) == "row 2: labels differ from token 1 on"
    answer_unlearned = TokenRow(input_ids=OURS.input_ids, labels=[-100, -100, -100, 8, 9])
    assert first_difference([OURS], [answer_unlearned]) == "row 1: labels differ from token 2 on"
    assert first_difference([OURS], [OURS, OURS]) == "1 rows against 2"


def test_files_give_back_what_was_written(tmp_path):
    write_tokens(tmp_path / "rows.jsonl", [OURS, THEIRS])
    assert read_tokens(tmp_path / "rows.jsonl") == [OURS, THEIRS]
