"""The plan: parts that add up, micro-batches that fit, checkpointing only where it is needed."""

import dataclasses

import pytest

from luthier.config import Config
from luthier.planner.footprint import Footprint
from luthier.planner.forecast import Machine, Work, make_plan, memory, step_flops

MB = 1 << 20
FOOTPRINT = Footprint(
    layers=8,
    heads=64,
    head_size=32,
    hidden=256,
    vocabulary=6400,
    widest=768,
    parameters=8_000_000,
    trainable=200_000,
    weight_bytes=32_000_000,
    trainable_bytes=800_000,
    head_learns=False,
    kept=170_000.0,
    kept_checkpointed=9_000.0,
    linear=6_300_000,
    needing_gradient=6_200_000,
    learning=200_000,
)
WORK = Work(longest=200, step_tokens=5000, supervised=0.5)


def plan(free=None, work=WORK, footprint=FOOTPRINT, kind="cpu", **keys):
    return make_plan(Config(optim="adamw_torch", **keys), footprint, work, Machine(kind=kind, free_bytes=free))


def test_with_room_a_micro_batch_has_as_many_tokens_as_help_and_no_checkpointing():
    found = plan()
    assert (found.micro_batch_tokens, found.gradient_checkpointing, found.fits, found.note) == (1024, False, None, "")
    assert plan(free=64 << 30).fits is True


def test_never_more_tokens_than_the_step_has_nor_fewer_than_the_longest_sample():
    assert plan(work=Work(longest=50, step_tokens=300)).micro_batch_tokens == 300
    assert plan(work=Work(longest=5000, step_tokens=9000)).micro_batch_tokens == 5000


def test_less_memory_means_fewer_tokens_then_checkpointing_then_a_warning():
    peaks = []
    seen = []
    for free in (600, 300, 250, 200, 150):
        found = plan(free=free * MB)
        peaks.append(found.peak_bytes)
        seen.append((found.micro_batch_tokens, found.gradient_checkpointing, found.fits))
        if found.fits:
            assert found.peak_bytes <= 0.85 * free * MB
    assert peaks == sorted(peaks, reverse=True)
    assert seen[0] == (1024, False, True)
    assert any(checkpointing for _, checkpointing, _ in seen)
    last = plan(free=50 * MB)
    assert last.fits is False
    assert "are needed" in last.note
    assert "cutoff_len" in last.note


def test_what_the_user_sets_is_kept():
    assert plan(gradient_checkpointing="on").gradient_checkpointing is True
    assert plan(free=150 * MB, gradient_checkpointing="off").gradient_checkpointing is False
    assert plan(micro_batch_tokens=333).micro_batch_tokens == 333
    assert plan(micro_batch_tokens=33).micro_batch_tokens == 200  # the longest sample must go through


def test_parts_by_hand():
    """1,000 tokens at once of a step of 5,000, half of them learned."""
    parts = memory(
        Config(optim="adamw_torch"), FOOTPRINT, WORK, Machine(kind="cpu", library_bytes=5), tokens=1000, checkpointing=False
    )
    assert parts["weights"] == 32_000_000
    assert parts["gradients"] == 800_000
    assert parts["optimizer"] == 1_600_000  # two moments
    assert parts["activations"] == 1000 * (170_000 + 2 * 768 * 4)
    assert parts["logits"] == 500 * (6400 * 4 + 8 * 256)


def test_logits_never_grow_beyond_two_chunks():
    large = dataclasses.replace(FOOTPRINT, vocabulary=151_936)
    work = dataclasses.replace(WORK, supervised=1.0, logits_chunk_bytes=10 * MB)
    parts = memory(Config(), large, work, Machine(kind="cpu"), tokens=100_000, checkpointing=False)
    assert parts["logits"] == 20 * MB + 8 * 256 * 100_000


def test_optimizers_keep_what_they_keep():
    def kept(optim):
        return memory(Config(optim=optim), FOOTPRINT, WORK, Machine(kind="cpu"), tokens=10, checkpointing=False)["optimizer"]

    assert kept("sgd") == 0
    assert kept("adagrad") == 800_000
    assert kept("adafactor") < kept("rmsprop") < kept("adamw_torch")


@pytest.mark.parametrize(("checkpointing", "passes"), [(False, 1), (True, 2)])
def test_operations_by_hand(checkpointing, passes):
    """Two operations a multiply-add; the head only where something is learned, forward and back."""
    body = passes * 6_300_000 + 6_200_000 + 200_000
    assert step_flops(FOOTPRINT, WORK, checkpointing) == 2 * 5000 * (body + 0.5 * 2 * 256 * 6400)


def test_time_is_operations_over_speed():
    config = Config()
    slow = make_plan(config, FOOTPRINT, WORK, Machine(kind="cpu", flops_per_second=1e9))
    fast = make_plan(config, FOOTPRINT, WORK, Machine(kind="cpu", flops_per_second=2e9))
    assert slow.step_s == pytest.approx(2 * fast.step_s)
    assert plan().step_s is None


def test_long_samples_cost_more_than_short_ones_of_the_same_tokens():
    """7 products of 64 heads x 32 values a pair, and 18 ns of softmax on one core."""
    machine = Machine(kind="cpu", flops_per_second=1e12, threads=2)
    alone = make_plan(Config(), FOOTPRINT, WORK, machine).step_s
    work = Work(longest=200, step_tokens=5000, supervised=0.5, pairs=1e6)
    attention = 2 * 7 * 1e6 * 64 * 32
    assert step_flops(FOOTPRINT, work, False) == step_flops(FOOTPRINT, WORK, False) + attention
    assert make_plan(Config(), FOOTPRINT, work, machine).step_s == pytest.approx(
        alone + attention / 0.55e12 + 1e6 * 64 * 18e-9 / 2
    )
