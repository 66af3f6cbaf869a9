"""Freeze: exactly the layers and parts that were asked for learn; names that do not exist are answered with those that do."""

import pytest
import torch

from luthier.errors import ConfigError
from tests.adapters.conftest import attach
from tests.conftest import make_tiny


def learning(**keys) -> set[str]:
    _, net = attach(make_tiny("qwen3", num_hidden_layers=4), finetuning_type="freeze", **keys)
    return {name for name, parameter in net.named_parameters() if parameter.requires_grad}


def layer(index: int) -> set[str]:
    names = {name for name, _ in make_tiny("qwen3", num_hidden_layers=4).named_parameters()}
    return {name for name in names if name.startswith(f"model.layers.{index}.")}


def test_the_last_two_layers_by_default():
    assert learning() == layer(2) | layer(3)


def test_a_negative_count_takes_the_first():
    assert learning(freeze_trainable_layers=-1) == layer(0)


def test_parts_of_the_layers():
    found = learning(freeze_trainable_layers=1, freeze_trainable_modules=["self_attn", "input_layernorm"])
    assert found == {name for name in layer(3) if ".self_attn." in name or ".input_layernorm." in name}


def test_modules_outside_the_layers():
    assert learning(freeze_trainable_layers=1, freeze_extra_modules=["norm", "embed_tokens"]) == layer(3) | {
        "model.norm.weight",
        "model.embed_tokens.weight",
    }


@pytest.mark.parametrize("count", [0, 5, -5])
def test_more_layers_than_there_are(count):
    with pytest.raises(ConfigError, match="4 hidden layers"):
        learning(freeze_trainable_layers=count)


@pytest.mark.parametrize(
    ("key", "there"), [("freeze_trainable_modules", "self_attn"), ("freeze_extra_modules", "embed_tokens")]
)
def test_a_name_that_does_not_exist(key, there):
    with pytest.raises(ConfigError, match=f'{key}: this model has no "{there}s"') as caught:
        learning(**{key: [f"{there}s"]})
    assert f'Did you mean "{there}"?' in str(caught.value)


def test_what_learns_of_a_bfloat16_model_is_float32():
    _, net = attach(make_tiny("qwen3").bfloat16(), finetuning_type="freeze", freeze_trainable_layers=1)
    assert {p.dtype for p in net.parameters() if p.requires_grad} == {torch.float32}
    assert {p.dtype for p in net.parameters() if not p.requires_grad} == {torch.bfloat16}


def test_a_mixed_model_is_saved_and_loaded_bit_for_bit(tmp_path):
    keys = {"finetuning_type": "freeze", "freeze_trainable_layers": 1}
    adapter, net = attach(make_tiny("qwen3").bfloat16(), **keys)
    for parameter in net.parameters():
        if parameter.requires_grad:
            parameter.data += 1e-4  # lost in bfloat16
    adapter.save(net, tmp_path)
    again, other = attach(make_tiny("qwen3").bfloat16(), **keys)
    again.load(other, tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), other.parameters()))
