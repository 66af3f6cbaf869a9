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
    gradient_bytes=800_000,
    optimizer_bytes=1_600_000,
    linear=6_300_000,
    needing_gradient=6_200_000,
    learning=200_000,
)
WORK = Work(longest=200, segment=200, step_tokens=5000, supervised=0.5)


def plan(free=None, work=WORK, footprint=FOOTPRINT, kind="cpu", **keys):
    return make_plan(Config(optim="adamw_torch", **keys), footprint, work, Machine(kind=kind, free_bytes=free))


def test_with_room_a_micro_batch_has_as_many_tokens_as_help_and_no_checkpointing():
    found = plan()
    assert (found.micro_batch_tokens, found.gradient_checkpointing, found.fits, found.note) == (1024, False, None, "")
    assert plan(free=64 << 30).fits is True


def test_never_more_tokens_than_the_step_has_nor_fewer_than_the_longest_sample():
    assert plan(work=Work(longest=50, segment=50, step_tokens=300)).micro_batch_tokens == 300
    assert plan(work=Work(longest=5000, segment=5000, step_tokens=9000)).micro_batch_tokens == 5000


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
    assert parts["activations"] == 1000 * 170_000
    assert parts["logits"] == 500 * (6400 * 4 + 8 * 256)  # more than the buffers of a layer, 1000 * 2 * 768 * 4


def test_logits_never_grow_beyond_two_chunks():
    large = dataclasses.replace(FOOTPRINT, vocabulary=151_936, widest=1)  # the peak is at the loss
    work = dataclasses.replace(WORK, supervised=1.0, logits_chunk_bytes=10 * MB)
    parts = memory(Config(), large, work, Machine(kind="cpu"), tokens=100_000, checkpointing=False)
    assert parts["logits"] == 20 * MB + 8 * 256 * 100_000


def parts_of(footprint=FOOTPRINT, tokens=1000, checkpointing=False, **work):
    given = dataclasses.replace(WORK, **work)
    return memory(Config(), footprint, given, Machine(kind="cpu"), tokens=tokens, checkpointing=checkpointing)


def test_with_a_large_vocabulary_the_peak_is_at_the_loss():
    """500 learned tokens of 151,936: 304 MB of logits are more than the buffers of a layer (6 MB)."""
    parts = parts_of(dataclasses.replace(FOOTPRINT, vocabulary=151_936))
    assert parts["activations"] == 1000 * 170_000
    assert parts["logits"] == 2 * (96 << 20) + 500 * 8 * 256


def test_a_head_that_learns_holds_its_gradient_and_one_chunk_more():
    large = dataclasses.replace(FOOTPRINT, vocabulary=151_936, head_learns=True)
    assert parts_of(large)["logits"] == 3 * (96 << 20) + 500 * 8 * 256 + 4 * 151_936 * 256


def test_what_a_step_of_the_optimizer_makes_competes_for_the_peak_on_a_cpu():
    big = dataclasses.replace(FOOTPRINT, step_bytes=10**12)
    plain, more = (sum(parts_of(footprint).values()) for footprint in (FOOTPRINT, big))
    assert parts_of(big)["optimizer"] == FOOTPRINT.optimizer_bytes + 10**12 and more > plain
    assert parts_of(dataclasses.replace(FOOTPRINT, step_bytes=1)) == parts_of()
    on_gpu = memory(Config(), big, WORK, Machine(kind="cuda"), tokens=1000, checkpointing=False)
    assert on_gpu["optimizer"] == FOOTPRINT.optimizer_bytes


def test_one_micro_batch_a_step_needs_no_room_for_gradients_while_activations_are_kept():
    assert parts_of(step_tokens=1000)["gradients"] == 0
    assert parts_of(step_tokens=1001)["gradients"] == 800_000


def test_attention_spelled_out_grows_with_the_square_of_the_sample():
    fused = dataclasses.replace(FOOTPRINT, vocabulary=10)  # the peak is in the layers
    spelled = dataclasses.replace(fused, kept_pairs=64.0)
    more = [parts_of(spelled, segment=n)["activations"] - parts_of(fused, segment=n)["activations"] for n in (100, 200)]
    assert more[1] == 2 * more[0]
    assert more[0] == 1000 * 100 * (64 + 3 * 4 * 8)  # what is kept, and three float32 matrices of 8 heads


def test_half_of_what_kto_sees_needs_gradients_and_other_models_are_held():
    whole, half = parts_of(), parts_of(share=0.5, others={"reference": 7})
    assert half["activations"] == whole["activations"] / 2
    assert half["reference"] == 7


def test_drawing_answers_may_take_more_than_learning_from_them():
    parts = parts_of(generation=1 << 30)
    assert (parts["generation"], parts["activations"], parts["gradients"]) == (1 << 30, 0, 0)


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
    work = Work(longest=200, segment=200, step_tokens=5000, supervised=0.5, pairs=1e6)
    attention = 2 * 7 * 1e6 * 64 * 32
    assert step_flops(FOOTPRINT, work, False) == step_flops(FOOTPRINT, WORK, False) + attention
    assert make_plan(Config(), FOOTPRINT, work, machine).step_s == pytest.approx(
        alone + attention / 0.55e12 + 1e6 * 64 * 18e-9 / 2
    )
