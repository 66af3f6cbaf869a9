"""The plain loop and the judge, on a model of next to nothing: they agree with one another and with transformers' own loss."""

import json

import pytest
import torch
from bench.gpu.rows import random_rows
from bench.judge import held_out_loss
from bench.models import make_model
from bench.plain import read_recipe, summed_loss, train
from bench.sides import RECIPE
from bench.tokens import write_tokens
from transformers import AutoModelForCausalLM


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    from tests.conftest import ROOT

    assets = ROOT.parent / "shared" / "assets"
    if not assets.is_dir():
        pytest.skip("the test material is not here: assets/ beside the repository")
    return make_model("tiny", assets, tmp_path_factory.mktemp("work"))


def test_the_loss_is_transformers_own(model):
    row = random_rows("chat", 1, 64, vocabulary=6400)[0]
    net = AutoModelForCausalLM.from_pretrained(model)
    ids, labels = torch.tensor([row.input_ids]), torch.tensor([row.labels])
    output = net(input_ids=ids, labels=labels)
    assert summed_loss(output.logits, labels).item() / row.supervised == pytest.approx(output.loss.item(), rel=1e-5)


def test_it_learns_and_the_judge_sees_it(model, tmp_path):
    rows = random_rows("chat", 32, 48, vocabulary=40)  # 40 of 6,400 tokens: easy to learn which
    write_tokens(tmp_path / "rows.jsonl", rows)
    overrides = [f"model_name_or_path={model}", f"output_dir={tmp_path / 'run'}", f"tokens={tmp_path / 'rows.jsonl'}"]
    train(read_recipe([str(RECIPE), *overrides, "learning_rate=0.01", "num_train_epochs=4", "warmup_steps=0"]))
    logged = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert len(logged) == 8 and all(row["grad_norm"] > 0 for row in logged)
    assert logged[-1]["tokens_seen"] == 4 * sum(len(row.input_ids) for row in rows)
    assert logged[0]["loss"] == pytest.approx(held_out_loss(model, None, rows[:16]), rel=1e-5)
    assert held_out_loss(model, tmp_path / "run", rows) < held_out_loss(model, None, rows) - 0.1
