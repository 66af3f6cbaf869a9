"""The three kinds of reference say the same; KTO's mismatched answers follow from the contents alone."""

import numpy as np
import pytest
import torch
from tests.adapters.conftest import attach, train
from tests.conftest import make_tiny
from tests.stages.bench import CPU, FLOAT32, make_trainer, samples

from luthier.batches.collate import collate
from luthier.batches.mismatched import Mismatched
from luthier.batches.store import write_store
from luthier.models.reference import BaseReference, CachedReference, ModelReference
from luthier.models.score import Scorer


def test_base_second_model_and_cache_agree(tmp_path):
    store = write_store(tmp_path / "store", samples("dpo", 9), {"fingerprint": "x"})
    adapter, net = attach()
    train(net)
    scorer = Scorer(net)
    base = BaseReference(scorer, lambda: adapter.disabled(net))
    second = ModelReference(Scorer(make_tiny("qwen3")))
    batch = collate(store, range(9))
    assert not torch.allclose(scorer(batch)[0], base(batch), atol=1e-2)
    torch.testing.assert_close(base(batch), second(batch), rtol=0, atol=1e-5)
    assert scorer.training and not base(batch).requires_grad
    cached = CachedReference(base, [collate(store, [n]) for n in range(9)])
    torch.testing.assert_close(cached(collate(store, [4, 1, 7])), base(collate(store, [4, 1, 7])), rtol=0, atol=1e-5)


@pytest.mark.parametrize("stage", ["dpo", "kto"])
def test_the_curve_is_the_same_whether_asked_live_or_before(tmp_path, stage):
    from tests.stages.bench import rows

    from luthier.workflows.equip import cache_reference

    curves = []
    for name in ("live", "cached"):
        trainer = make_trainer(tmp_path / name, stage, finetuning_type="lora", eval_strategy="epoch")
        if name == "cached":
            stores = [trainer.loader.store, trainer.evaluations["eval"].store]
            trainer.scorer.reference = cache_reference(
                trainer.scorer.reference, stores, max_tokens=100, device=CPU, precision=FLOAT32
            )
        trainer.fit()
        curves.append(rows(trainer) + rows(trainer, "eval_loss"))
    assert curves[0] == pytest.approx(curves[1], abs=1e-5)


def pairs(store) -> set[tuple[bytes, bytes]]:
    """(own segment, mismatched segment) of every sample."""
    return {tuple(segment.input_ids.tobytes() for segment in store.segments(number)) for number in range(len(store))}


def test_mismatched_pairs_do_not_depend_on_the_order_of_rows(tmp_path):
    encoded = samples("kto", 30)
    shuffled = [encoded[number] for number in np.random.default_rng(0).permutation(30)]
    found = [
        Mismatched(write_store(tmp_path / name, rows, {"fingerprint": name}))
        for name, rows in (("a", encoded), ("b", shuffled))
    ]
    assert pairs(found[0]) == pairs(found[1])
    assert sorted(found[0].lengths) == sorted(found[1].lengths)


def test_a_mismatched_answer_stands_after_the_own_prompt_and_is_another_samples(tmp_path):
    store = Mismatched(write_store(tmp_path / "a", samples("kto", 12), {"fingerprint": "a"}))
    for number in range(12):
        own, other = store.segments(number)
        assert store.lengths[number] == own.num_tokens + other.num_tokens
        prompt = int(np.argmax(own.labels >= 0))
        assert own.input_ids[:prompt].tolist() == other.input_ids[:prompt].tolist()
        assert (other.labels[:prompt] < 0).all() and (other.labels[prompt:] == other.input_ids[prompt:]).all()
        assert own.input_ids[prompt:].tolist() != other.input_ids[prompt:].tolist()


def test_rows_of_one_prompt_are_paired_with_another_prompt_where_there_is_one(tmp_path):
    """Good and bad answers to the same prompt, as preference sets turned into ratings have them."""
    encoded = [(n, item) for n, (_, item) in enumerate([*samples("kto", 5), *samples("kto", 5, seed=9)])]
    store = Mismatched(write_store(tmp_path / "a", [*encoded, *encoded], {"fingerprint": "a"}))
    answers = {tuple(store.segments(n)[0].input_ids.tolist()) for n in range(len(store))}
    for number in range(len(store)):
        assert tuple(store.segments(number)[1].input_ids.tolist()) not in answers


def test_parts_of_a_batch(tmp_path):
    """Every second segment, as if the others had never been there."""
    store = write_store(tmp_path / "store", samples("dpo", 4), {"fingerprint": "x"})
    batch = collate(store, range(4))
    rejected = batch.parts(1)
    alone = [store.segments(number)[1] for number in range(4)]
    assert rejected.segment_lengths == tuple(segment.num_tokens for segment in alone)
    assert rejected.input_ids[0].tolist() == np.concatenate([segment.input_ids for segment in alone]).tolist()
    assert (
        rejected.targets.tolist() == np.concatenate([segment.labels[1:][segment.labels[1:] >= 0] for segment in alone]).tolist()
    )
    scorer = Scorer(make_tiny("qwen3"))
    own = batch.segment_ids % 2 == 1
    torch.testing.assert_close(scorer(rejected)[0], scorer(batch)[0][own], rtol=0, atol=1e-5)
