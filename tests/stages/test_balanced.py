"""The balance of experts is transformers' own, reaches the routers, and is logged."""

import pytest
import torch
from tests.conftest import make_tiny
from tests.stages.bench import make_trainer, rows, samples
from torch.nn.utils.rnn import pad_sequence

from luthier.batches.collate import collate
from luthier.batches.store import write_store
from luthier.config import Config
from luthier.errors import ModelError
from luthier.models.score import Scorer
from luthier.stages import STAGES
from luthier.stages.balanced import Balanced

COEFFICIENT = 0.3


@pytest.mark.parametrize("layout", ["packed", "padded"])
@pytest.mark.parametrize("family", ["qwen3_moe", "qwen2_moe", "mixtral", "olmoe", "granitemoe", "gpt_oss", "jetmoe"])
def test_loss_and_gradients_equal_those_of_transformers(tmp_path, family, layout):
    model = make_tiny(family, router_aux_loss_coef=COEFFICIENT, aux_loss_coef=COEFFICIENT)  # JetMoE's name for it
    segments = [item.segments[0] for _, item in samples("sft", 6)]
    ids = pad_sequence([torch.tensor(s.input_ids).long() for s in segments], batch_first=True)
    labels = pad_sequence([torch.tensor(s.labels).long() for s in segments], batch_first=True, padding_value=-100)
    mask = pad_sequence([torch.ones(s.num_tokens).long() for s in segments], batch_first=True)
    theirs = model(input_ids=ids, attention_mask=mask, labels=labels, output_router_logits=True)
    theirs.loss.backward()
    expected = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    model.zero_grad()

    stage = Balanced(STAGES["sft"](Config(stage="sft")), COEFFICIENT)
    scorer = Scorer(model, layout=layout).train()
    batch = collate(write_store(tmp_path / "store", samples("sft", 6), {"fingerprint": "x"}), range(6))
    with torch.no_grad():
        seen = stage.look_ahead(scorer, batch)
    stage.begin_step({name: total / count for name, (total, count) in seen.items()})
    output = stage.loss(scorer, batch)
    (output.total / len(batch.targets)).backward()

    total, count = output.metrics["moe_aux_loss"]
    assert float(total) / count == pytest.approx(float(theirs.aux_loss.detach()), abs=1e-5)
    assert float(output.total.detach()) / len(batch.targets) == pytest.approx(float(theirs.loss.detach()), abs=1e-5)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], atol=1e-5, rtol=1e-4)


def test_routers_learn_from_it_and_use_evens_out(tmp_path):
    """One expert is preferred by far at first; every expert's share of 2 of 4 makes a balance of 2."""
    curves = {}
    for coefficient in (None, 1.0):
        model = make_tiny("qwen3_moe", initializer_range=0.3).train()
        trainer = make_trainer(
            tmp_path / str(coefficient),
            "sft",
            model=model,
            moe_aux_loss_coef=coefficient,
            learning_rate=1e-2,
            num_train_epochs=8.0,
        )
        trainer.fit()
        curves[coefficient] = rows(trainer, "moe_aux_loss")
    assert curves[None] == []
    assert curves[1.0][0] > curves[1.0][-1] + 0.1 and curves[1.0][-1] < 2.1


def test_checkpointing_changes_nothing(tmp_path):
    curves = []
    for name in ("plain", "again"):
        model = make_tiny("mixtral").train()
        if name == "again":
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        trainer = make_trainer(tmp_path / name, "sft", model=model, moe_aux_loss_coef=0.5)
        trainer.fit()
        curves.append(rows(trainer) + rows(trainer, "moe_aux_loss") + rows(trainer, "grad_norm"))
    assert curves[0] == pytest.approx(curves[1], abs=1e-6)


def test_dropout_is_that_of_the_pass_that_counted(tmp_path):
    """With one micro-batch a step, what was counted ahead is what the loss itself would count."""
    trainer = make_trainer(
        tmp_path / "run", "sft", family="qwen3_moe", moe_aux_loss_coef=0.5, micro_batch_tokens=10_000,
        finetuning_type="lora", lora_dropout=0.3, neftune_noise_alpha=5.0, num_train_epochs=1.0,
    )  # fmt: skip
    stage, scorer = trainer.stage, trainer.scorer
    apart, balance = [], stage._balance

    def checked(logits):
        tokens = len(logits[0]) * len(logits)
        chosen = torch.cat([layer.topk(2).indices.flatten() for layer in logits]).bincount(minlength=4)
        apart.extend(abs(float(chosen[e]) / tokens - stage._seen[f"expert {e}"]) for e in range(4))
        return balance(logits)

    stage._balance = checked
    trainer.fit()
    assert scorer.training and len(apart) == 6 * 4 and max(apart) < 1e-12


def test_a_mixture_whose_layers_are_all_dense_is_refused(tmp_path):
    model = make_tiny("qwen3_moe", mlp_only_layers=[0, 1]).train()
    with pytest.raises(ModelError, match="none of this model's layers has a router"):
        make_trainer(tmp_path / "run", "sft", model=model, moe_aux_loss_coef=0.5).fit()


def test_evaluation_is_the_plain_loss(tmp_path):
    keys = {"family": "qwen3_moe", "eval_strategy": "steps", "eval_steps": 3, "learning_rate": 1e-12}
    losses = []
    for coefficient in (None, 1.0):
        trainer = make_trainer(tmp_path / str(coefficient), "sft", moe_aux_loss_coef=coefficient, **keys)
        trainer.fit()
        losses.append(rows(trainer, "eval_loss"))
    assert losses[0] == pytest.approx(losses[1], abs=1e-6) and losses[0]
