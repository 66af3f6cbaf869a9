"""Quantised bases on the CPU: QLoRA learns, its adapter merges into full weights, what cannot be done says what is missing."""

import json

import pytest
import torch

from luthier.adapters import ADAPTERS
from luthier.config import Config
from luthier.errors import ConfigError, ModelError
from luthier.models import quantize
from luthier.models.load import load_model
from luthier.models.score import Scorer
from tests.adapters.conftest import logits, train
from tests.conftest import make_tiny

BITS = {
    "nf4": {"quantization_bit": 4},
    "fp4": {"quantization_bit": 4, "quantization_type": "fp4", "double_quantization": False},
    "int8": {"quantization_bit": 8},
}


@pytest.fixture
def folder(tmp_path):
    """Wide enough that int8 has something to work with."""
    make_tiny("qwen3", hidden_size=64, head_dim=16, intermediate_size=128).save_pretrained(tmp_path / "model")
    return str(tmp_path / "model")


def load(folder, **keys):
    pytest.importorskip("bitsandbytes")
    config = Config(model_name_or_path=folder, **keys)
    return config, load_model(config, dtype=torch.float32, for_training=True)


@pytest.mark.parametrize("name", BITS)
def test_a_quantised_base_is_near_the_full_one_and_smaller(folder, name):
    _, full = load(folder)
    _, small = load(folder, **BITS[name])
    assert small.is_quantized
    weight = small.model.layers[0].mlp.up_proj.weight
    assert weight.numel() * weight.element_size() == 128 * 64 // (1 if name == "int8" else 2)
    assert full.model.embed_tokens.weight.dtype == small.model.embed_tokens.weight.dtype == torch.float32
    a, b = logits(full).flatten(), logits(small).flatten()
    assert torch.corrcoef(torch.stack([a, b]))[0, 1] > (0.999 if name == "int8" else 0.9)


@pytest.mark.parametrize("name", BITS)
def test_qlora_learns_and_merges_into_the_full_weights(folder, name, tmp_path):
    config, base = load(folder, lora_rank=4, **BITS[name])
    adapter = ADAPTERS["lora"](config)
    net = adapter.attach(base)
    frozen = {key: p.detach().clone() for key, p in net.named_parameters() if not p.requires_grad}
    first, last = train(net, steps=1), train(net, steps=25)
    assert last < 0.8 * first
    assert all(torch.equal(frozen[key], p) for key, p in net.named_parameters() if key in frozen)
    (tmp_path / "adapter").mkdir()
    adapter.save(net, tmp_path / "adapter")
    whole, full = load(folder, adapter_name_or_path=[str(tmp_path / "adapter")])
    merged = ADAPTERS["lora"](whole).merge(ADAPTERS["lora"](whole).attach(full))
    assert merged.model.layers[0].mlp.up_proj.weight.dtype == torch.float32
    a, b = logits(merged).flatten(), logits(net).flatten()
    assert torch.corrcoef(torch.stack([a, b]))[0, 1] > 0.95


def test_a_quantised_base_is_scored_packed(folder):
    _, base = load(folder, quantization_bit=4)
    assert Scorer(base).layout == "packed"


def test_bits_that_no_method_has(folder):
    with pytest.raises(ConfigError, match="4 and 8 bits, not 3"):
        load_model(Config(model_name_or_path=folder, quantization_bit=3))


def test_a_missing_package_is_named_before_anything_is_read(folder, monkeypatch):
    monkeypatch.setattr(quantize, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match="bitsandbytes is not installed") as caught:
        load_model(Config(model_name_or_path=folder, quantization_bit=4))
    assert "pip install" in str(caught.value)


@pytest.mark.parametrize(("method", "package"), [("gptq", "gptqmodel"), ("awq", "gptqmodel")])
def test_models_that_are_stored_quantised_say_what_they_need(folder, method, package, tmp_path):
    file = tmp_path / "model" / "config.json"
    settings = json.loads(file.read_text())
    file.write_text(json.dumps(settings | {"quantization_config": {"quant_method": method, "bits": 4}}))
    with pytest.raises(ModelError, match=f"stored as {method}, and {package} is not installed"):
        load_model(Config(model_name_or_path=folder))
