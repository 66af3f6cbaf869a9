"""Law 6: compiled layers give the numbers of plain ones, one graph for rows of all lengths, under unchanged names."""

import shutil

import pytest
import torch
from torch import nn
from torch._dynamo.utils import counters

from luthier.config import Config
from luthier.errors import ModelError
from luthier.models.compiled import compile_layers, require_compiler
from luthier.trainer.callbacks.base import Callback
from tests.trainer.bench_of import losses, make_trainer, weights

CASES = {
    "lora, checkpointing": ("aot_eager", {"finetuning_type": "lora", "gradient_checkpointing": "on"}),
    "full": ("aot_eager", {}),
    "freeze": ("aot_eager", {"finetuning_type": "freeze", "freeze_trainable_layers": 1}),
    "padded": ("aot_eager", {"layout": "padded"}),
    "gemma2": ("aot_eager", {"family": "gemma2", "gradient_checkpointing": "on"}),
    "experts": ("aot_eager", {"family": "qwen3_moe", "moe_aux_loss_coef": 0.5, "gradient_checkpointing": "on"}),
    "mixtral": ("aot_eager", {"family": "mixtral"}),
    "inductor, full": ("inductor", {"gradient_checkpointing": "on"}),
    "inductor, lora": ("inductor", {"finetuning_type": "lora"}),
}


@pytest.fixture(autouse=True)
def nothing_compiled():
    yield
    torch.compiler.reset()


class StrictAfter(Callback):
    def __init__(self, step):
        self.step = step

    def on_step_end(self, progress, metrics):
        if progress.step == self.step:
            torch.compiler.set_stance("fail_on_recompile")


def numbers(trainer):
    return [row[key] for row in trainer.run.read_metrics() for key in ("loss", "grad_norm", "eval_loss") if key in row]


def held_to_plain(tmp_path, **keys):
    keys = {"eval_strategy": "steps", "eval_steps": 3, "num_train_epochs": 1.0} | keys
    plain = make_trainer(tmp_path / "plain", **{key: value for key, value in keys.items() if key != "torch_compile_backend"})
    compiled = make_trainer(tmp_path / "compiled", **keys)
    assert list(compiled.model.state_dict()) == list(plain.model.state_dict())
    for trainer in (plain, compiled):
        trainer.fit()
    assert numbers(compiled) == pytest.approx(numbers(plain), abs=1e-5)
    for name, tensor in weights(plain).items():
        torch.testing.assert_close(weights(compiled)[name], tensor, atol=2e-4, rtol=1e-3)
    return compiled


def test_compiled_layers_train_as_plain_ones(tmp_path):
    held_to_plain(tmp_path, torch_compile_backend="eager", gradient_checkpointing="on", finetuning_type="lora")


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_each_way_trains_as_plain_layers(tmp_path, case):
    backend, keys = CASES[case]
    if backend == "inductor" and not shutil.which("g++"):
        pytest.skip("no C++ compiler")
    held_to_plain(tmp_path, torch_compile_backend=backend, **keys)


def test_one_graph_serves_every_length(tmp_path):
    """After the first steps no other number of tokens or segments makes a new graph."""
    trainer = make_trainer(tmp_path / "run", torch_compile_backend="eager", micro_batch_tokens=60, num_train_epochs=2.0)
    graphs = counters["stats"]["unique_graphs"]
    trainer.callbacks = (StrictAfter(3),)
    try:
        trainer.fit()
    finally:
        torch.compiler.set_stance("default")
    assert len(losses(trainer)) == 12
    assert counters["stats"]["unique_graphs"] > graphs


def test_a_missing_compiler_is_named_early(monkeypatch):
    monkeypatch.setenv("PATH", "")
    for key, value in (("torch_compile", True), ("torch_compile_mode", "default"), ("torch_compile_backend", "inductor")):
        with pytest.raises(ModelError, match=r"torch_compile: inductor needs a C\+\+ compiler"):
            require_compiler(Config(**{key: value}), torch.device("cpu"))
    require_compiler(Config(torch_compile_backend="aot_eager"), torch.device("cpu"))
    require_compiler(Config(), torch.device("cpu"))


def test_layers_that_are_not_known_are_refused():
    with pytest.raises(ModelError, match="torch_compile: this model brings layers of its own"):
        compile_layers(Config(torch_compile=True), nn.Linear(2, 2))
