"""Losses and metrics against TRL's own trainers, whose loss functions are run on the same made-up log-probabilities.

TRL sees padded rows and a mask, Luthier segments end to end, so this covers the sums over answers and LD-DPO's weights too.
"""

from collections import defaultdict
from types import SimpleNamespace
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch
from tests.stages.bench import samples

from luthier.batches.collate import collate
from luthier.batches.mismatched import Mismatched
from luthier.batches.store import write_store
from luthier.config import Config
from luthier.stages import STAGES

pytestmark = pytest.mark.slow


class Said:
    """A scorer that says given log-probabilities. policy, reference: (N,)."""

    training = True

    def __init__(self, policy, reference):
        self._policy, self._reference = policy, reference

    def __call__(self, batch):
        return self._policy, None

    def reference(self, batch):
        return self._reference


def drawn(count: int, seed: int) -> torch.Tensor:
    return -torch.rand(count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 4 - 0.01


def padded(values_N, batch, order) -> torch.Tensor:
    """(segments, longest) of the learned tokens of each segment, in the given order of segments; 0 beyond."""
    counts = torch.bincount(batch.segment_ids).tolist()
    pieces = values_N.split(counts)
    return torch.nn.utils.rnn.pad_sequence([pieces[number] for number in order], batch_first=True)


def trl_self(**values):
    accelerator = MagicMock(device="cpu")
    accelerator.gather = accelerator.gather_for_metrics = lambda x: x
    defaults = {
        "accelerator": accelerator,
        "model": SimpleNamespace(training=True),
        "aux_loss_enabled": False,
        "precompute_ref_logps": True,
        "f_divergence_type": "reverse_kl",
        "use_weighting": False,
        "_metrics": {"train": defaultdict(list)},
        "_total_train_tokens": 0,
        "_tp_size": 1,
        "ld_alpha": None,
        "label_smoothing": 0.0,
    }
    return SimpleNamespace(**(defaults | values))


def outputs_of(logps):
    """A model output whose first column stands for the prompt's last token, as TRL's masks want it."""
    zeros = torch.zeros_like(logps)
    return SimpleNamespace(log_probs=logps, entropy=zeros, mean_logits=zeros, is_top1=zeros.bool(), aux_loss=None)


def dpo_by_trl(config: Config, batch, policy, reference):
    from trl.trainer.dpo_trainer import DPOTrainer

    order = [*range(0, batch.num_segments, 2), *range(1, batch.num_segments, 2)]
    ones = padded(torch.ones_like(policy), batch, order)
    mask = torch.cat([torch.zeros(len(order), 1), ones], 1).long()
    if config.ld_alpha is None:
        sums = padded(reference, batch, order).sum(1)
    else:
        shared = ones.sum(1).view(2, -1).amin(0).repeat(2)[:, None]
        place = torch.arange(ones.shape[1])[None]
        sums = (padded(reference, batch, order) * torch.where(place < shared, 1.0, config.ld_alpha)).sum(1)
    chosen, rejected = sums.chunk(2)
    fake = trl_self(
        loss_types=config.pref_loss,
        loss_weights=config.pref_loss_weights or [1.0] * len(config.pref_loss),
        beta=config.pref_beta,
        label_smoothing=config.dpo_label_smoothing,
        ld_alpha=config.ld_alpha,
    )
    logps = padded(policy, batch, order)
    inputs = {
        "input_ids": mask,
        "attention_mask": mask,
        "completion_mask": mask,
        "ref_chosen_logps": chosen,
        "ref_rejected_logps": rejected,
    }
    loss = DPOTrainer._compute_loss(fake, lambda **_: outputs_of(logps), inputs, False)
    return loss, {name: values[0] for name, values in fake._metrics["train"].items()}


def batch_of(stage: str, tmp_path, count: int = 7):
    store = write_store(tmp_path / "store", samples(stage, count), {"fingerprint": "x"})
    store = Mismatched(store) if stage == "kto" else store
    batch = collate(store, np.arange(count))
    batch.values = batch.values.double()
    return batch


@pytest.mark.parametrize(
    "keys",
    [
        {"pref_loss": ["sigmoid"]},
        {"pref_loss": ["hinge"]},
        {"pref_loss": ["robust"], "dpo_label_smoothing": 0.2},
        {"pref_loss": ["sigmoid"], "ld_alpha": 0.3},
        {"pref_loss": ["sigmoid", "hinge"], "pref_loss_weights": [0.7, 1.3], "pref_beta": 0.4},
        {"pref_loss": ["sigmoid"], "pref_beta": 2.0},
    ],
    ids=str,
)
def test_dpo_is_trls(keys, tmp_path):
    config = Config(stage="dpo", **keys)
    batch = batch_of("dpo", tmp_path)
    policy, reference = drawn(len(batch.targets), 0).requires_grad_(), drawn(len(batch.targets), 1)
    output = STAGES["dpo"](config).loss(Said(policy, reference), batch)
    mine = output.total / 7
    (my_gradient,) = torch.autograd.grad(mine, policy)
    theirs, metrics = dpo_by_trl(config, batch, policy, reference)
    (their_gradient,) = torch.autograd.grad(theirs, policy)
    torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-6)
    torch.testing.assert_close(my_gradient, their_gradient, rtol=0, atol=1e-6)
    for name in ("rewards/chosen", "rewards/rejected", "rewards/accuracies", "rewards/margins", "logps/chosen"):
        total, count = output.metrics[name]
        assert float(total) / count == pytest.approx(metrics[name], abs=1e-6), name


def test_ipo_is_trls_where_prompts_are_counted_as_it_does(tmp_path):
    """The one difference of layout: none; TRL divides by the number of answer tokens, as here."""
    config = Config(stage="dpo", pref_loss=["ipo"])
    batch = batch_of("dpo", tmp_path)
    policy, reference = drawn(len(batch.targets), 0), drawn(len(batch.targets), 1)
    mine = STAGES["dpo"](config).loss(Said(policy, reference), batch).total / 7
    torch.testing.assert_close(mine, dpo_by_trl(config, batch, policy, reference)[0], rtol=0, atol=1e-6)


@pytest.mark.parametrize("weights", [(1.0, 1.0), (0.5, 2.0)])
def test_kto_is_trls(weights, tmp_path):
    from trl.trainer.kto_trainer import KTOTrainer

    config = Config(stage="kto", kto_chosen_weight=weights[0], kto_rejected_weight=weights[1])
    batch = batch_of("kto", tmp_path)
    own, other = batch.parts(0), batch.parts(1)
    logps = {id_: (drawn(len(part.targets), seed), drawn(len(part.targets), seed + 1)) for id_, part, seed in
             (("own", own, 0), ("other", other, 5))}  # fmt: skip
    logps["other"] = (logps["other"][0] * 0.5, logps["other"][1])  # so that the KL is above 0
    stage = STAGES["kto"](config)
    seen = stage.look_ahead(Said(*logps["other"]), batch)
    stage.begin_step({name: float(total) / count for name, (total, count) in seen.items()})
    output = stage.loss(Said(*logps["own"]), batch)

    order = range(7)
    rows = {name: [padded(values, part, order) for values in logps[name]] for name, part in (("own", own), ("other", other))}
    mask = torch.cat([torch.zeros(7, 1), padded(torch.ones(len(own.targets)), own, order)], 1).long()
    fake = trl_self(
        beta=config.pref_beta,
        loss_type="kto",
        calculate_KL=True,
        desirable_weight=weights[0],
        undesirable_weight=weights[1],
        _compute_kl_logps=lambda model, inputs: rows["other"][0].sum(1),
    )
    inputs = {
        "input_ids": mask,
        "attention_mask": mask,
        "completion_mask": mask,
        "label": own.values > 0.5,
        "ref_logps": rows["own"][1].sum(1),
        "ref_KL_logps": rows["other"][1].sum(1),
    }
    theirs = KTOTrainer._compute_loss(fake, lambda **_: outputs_of(rows["own"][0]), inputs, False)
    torch.testing.assert_close(output.total / 7, theirs, rtol=0, atol=1e-6)
    metrics = fake._metrics["train"]
    assert metrics["kl"][0] > 0
    for name in ("kl", "rewards/chosen", "rewards/rejected", "logps/chosen", "logps/rejected"):
        total, count = output.metrics[name]
        assert float(total) / float(count) == pytest.approx(metrics[name][0], abs=1e-6), name


@pytest.mark.parametrize("name", ["simpo", "cpo", "orpo"])
def test_losses_without_reference_are_trls(name):
    """TRL adds the sft part of cpo and orpo elsewhere; it is taken off here."""
    from trl.experimental.cpo.cpo_trainer import CPOTrainer
    from trl.experimental.orpo.orpo_trainer import ORPOTrainer

    from luthier.stages.pair_losses import LOSSES, Pairs, Strength

    chosen, rejected, one = drawn(6, 3) * 5, drawn(6, 4) * 5, torch.ones(6, dtype=torch.float64)
    nc, nr = one * 7, one * 4
    pairs = Pairs(chosen=chosen, rejected=rejected, chosen_ref=one, rejected_ref=one, chosen_len=nc, rejected_len=nr)
    mine = LOSSES[name](pairs, Strength(beta=0.6, gamma=0.9))
    fake = trl_self(beta=0.6, alpha=0.0, simpo_gamma=0.9, loss_type="simpo" if name == "simpo" else "sigmoid")
    if name == "orpo":
        theirs = -ORPOTrainer.odds_ratio_loss(fake, chosen / nc, rejected / nr)[0].double() - chosen / nc
    elif name == "cpo":
        theirs = CPOTrainer.cpo_loss(fake, chosen, rejected)[0] - chosen / nc
    else:
        theirs = CPOTrainer.cpo_loss(fake, chosen / nc, rejected / nr)[0]
    torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-6)
