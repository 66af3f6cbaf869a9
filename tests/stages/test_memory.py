"""No stage ever holds (tokens x vocabulary) floats: the largest tensor of forward and backward pass is a chunk of logits."""

import numpy as np
import pytest
import torch
from tests.conftest import make_tiny
from tests.stages.bench import segment
from torch.utils._python_dispatch import TorchDispatchMode

from luthier.batches.rollouts import Rollouts
from luthier.config import Config
from luthier.models.heads import ModelWithHead, ValueHead
from luthier.models.reference import ModelReference
from luthier.models.score import Scorer
from luthier.stages import STAGES
from luthier.types import Encoded

VOCABULARY, ANSWER, SAMPLES = 4_000, 100, 16
CHUNK = 2**21  # bytes, instead of many more in earnest

VARIANTS = {
    "pt": {},
    "sft": {"label_smoothing_factor": 0.1},
    "sft dft": {"use_dft_loss": True},
    "sft eaft": {"use_eaft_loss": True},
    "sft asft": {"use_asft_loss": True},
    "kd": {"teacher_model": "t", "kd_beta": 0.5},
    "rm": {},
    "dpo": {"pref_loss": ["sigmoid", "orpo"]},
    "kto": {},
    "grpo": {"grpo_beta": 0.1},
    "ppo": {},
}


class Largest(TorchDispatchMode):
    """Notes the size of the largest tensor that any operation makes."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else (out,):
            if isinstance(tensor, torch.Tensor):
                self.elements = max(self.elements, tensor.numel())
        return out


def make_batch(stage: str):
    generator = np.random.default_rng(0)
    each = 2 if stage in ("rm", "dpo", "kto") else 1

    def one():
        return segment(generator.integers(3, 99, 4), generator.integers(3, 99, ANSWER // each))

    rollouts = Rollouts([Encoded(segments=tuple(one() for _ in range(each)), value=1.0) for _ in range(SAMPLES)])
    names = ("old_logps", "old_values", "advantages", "returns")
    rollouts.notes |= {name: [np.full(ANSWER, -0.1) for _ in range(SAMPLES)] for name in names}
    return rollouts.batch(range(SAMPLES))


def test_every_stage_of_the_table_is_measured():
    assert {name.split()[0] for name in VARIANTS} == set(STAGES)


@pytest.mark.parametrize("name", VARIANTS)
def test_the_largest_tensor_is_a_chunk(name, monkeypatch):
    monkeypatch.setattr("luthier.models.logps.CHUNK_BYTES", CHUNK)
    stage_name = name.split()[0]
    stage = STAGES[stage_name](Config(stage=stage_name, **VARIANTS[name]))
    model = make_tiny("qwen3", vocab_size=VOCABULARY, hidden_size=16, num_hidden_layers=1, intermediate_size=16)
    scorer = Scorer(ModelWithHead(model, ValueHead(16)) if stage.needs_head else model, layout="packed")
    other = make_tiny("qwen3", vocab_size=VOCABULARY, hidden_size=16, num_hidden_layers=1, intermediate_size=16)
    scorer.reference = ModelReference(Scorer(other, layout="packed"))
    scorer.train()
    batch = make_batch(stage_name)
    with Largest() as largest:
        if stage.looks_ahead:
            with torch.no_grad():
                seen = stage.look_ahead(scorer, batch)
            stage.begin_step({key: float(total) / count for key, (total, count) in seen.items()})
        stage.loss(scorer, batch).total.backward()
    whole = SAMPLES * ANSWER * VOCABULARY
    assert largest.elements < whole / 5
    assert largest.elements <= CHUNK / 4 * 2.01  # the two models' chunks stand side by side in a mixture
