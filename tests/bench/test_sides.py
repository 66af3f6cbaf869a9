"""Commands of the sides, and their logs read back."""

import json

import pytest
from bench.setup_peer import torch_pin
from bench.sides import SIDES, read_steps, steady_rate
from bench.watch import Watched


def lines(rows) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_both_sides_get_the_same_recipe_and_values():
    ours, theirs = (SIDES[side].train(output_dir="o") for side in ("luthier", "peer"))
    assert ours[0].endswith("luthier") and theirs[0].endswith("llamafactory-cli")
    assert ours[1:] == theirs[1:]
    assert SIDES["peer-fast"].train(output_dir="o")[1:] == [*theirs[1:], "disable_gradient_checkpointing=true"]


@pytest.mark.parametrize("side", ["luthier", "peer"])
def test_steps_are_read_from_each_sides_own_files(side, tmp_path):
    """Three steps of 100 tokens, logged 2 seconds apart: from the end of step 2 to the end of step 3 that is 50 tokens/s."""
    numbers = [{"step": n, "loss": 9.0 - n, "grad_norm": 0.5} for n in (1, 2, 3)]
    if side == "peer":
        history = [{**row, "num_input_tokens_seen": 100 * row["step"]} for row in numbers]
        (tmp_path / "trainer_state.json").write_text(json.dumps({"log_history": [*history, {"step": 3, "train_loss": 7.0}]}))
    else:
        rows = [{**row, "tokens_seen": 100 * row["step"]} for row in numbers]
        (tmp_path / "metrics.jsonl").write_text(lines([*rows, {"step": 3, "eval_loss": 7.0}]))
    seen = [{"current_steps": row["step"], "loss": row["loss"]} for row in numbers] + [{"current_steps": 3, "epoch": 1.0}]
    watched = Watched(
        returncode=0, wall_s=10.0, peak_bytes=1, rows=seen, row_times=[3.0, 5.0, 7.0, 7.5], row_cpu_s=[4.0, 8.0, 12.0, 13.0]
    )
    steps = read_steps(side, watched, tmp_path)
    assert [(row.step, row.time_s, row.loss, row.tokens) for row in steps] == [
        (1, 3.0, 8.0, 100),
        (2, 5.0, 7.0, 200),
        (3, 7.0, 6.0, 300),
    ]
    assert steady_rate(steps) == 50.0 and steady_rate(steps, "cpu_s") == 25.0


def test_the_peer_gets_the_torch_that_is_pinned(tmp_path):
    constraints = tmp_path / "constraints.txt"
    constraints.write_text("numpy==2.0\ntorch==2.13.0\ntorchdata==0.11.0\n")
    assert torch_pin(constraints) == "torch==2.13.0"
    with pytest.raises(SystemExit, match="pins no torch"):
        torch_pin(tmp_path / "none.txt")
