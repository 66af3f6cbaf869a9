"""Quantised bases on the CPU: QLoRA learns, its adapter merges into full weights, what cannot be done says what is missing."""

import json

import pytest
import torch

from luthier.adapters import ADAPTERS
from luthier.adapters.targets import parameter_count
from luthier.config import Config
from luthier.errors import ConfigError, ModelError
from luthier.models import quantize
from luthier.models.load import load_model
from luthier.models.packed import PackedLinear
from luthier.models.score import Scorer
from tests.adapters.conftest import logits, train
from tests.conftest import make_tiny

BITS = {
    "nf4": {"quantization_bit": 4},
    "fp4": {"quantization_bit": 4, "quantization_type": "fp4", "double_quantization": False},
    "int8": {"quantization_bit": 8},
    "torchao int8": {"quantization_bit": 8, "quantization_method": "torchao"},
    "torchao int4": {"quantization_bit": 4, "quantization_method": "torchao"},
    "hqq 8": {"quantization_bit": 8, "quantization_method": "hqq"},
    "hqq 4": {"quantization_bit": 4, "quantization_method": "hqq"},
}
PACKAGE = {"bnb": "bitsandbytes", "hqq": "hqq", "torchao": "torchao"}


@pytest.fixture
def folder(tmp_path):
    """Wide enough that int8 has something to work with."""
    make_tiny("qwen3", hidden_size=64, head_dim=16, intermediate_size=128).save_pretrained(tmp_path / "model")
    return str(tmp_path / "model")


def load(folder, **keys):
    pytest.importorskip(PACKAGE[keys.get("quantization_method", "bnb")])
    config = Config(model_name_or_path=folder, **keys)
    return config, load_model(config, dtype=torch.float32, for_training=True)


@pytest.mark.parametrize("name", BITS)
def test_a_quantised_base_is_near_the_full_one_and_smaller(folder, name):
    _, full = load(folder)
    _, small = load(folder, **BITS[name])
    assert small.is_quantized
    assert held(small.model.layers[0].mlp.up_proj) == 128 * 64 * BITS[name]["quantization_bit"] // 8
    assert parameter_count(small) == parameter_count(full) == full.num_parameters()
    assert full.model.embed_tokens.weight.dtype == small.model.embed_tokens.weight.dtype == torch.float32
    a, b = logits(full).flatten(), logits(small).flatten()
    assert torch.corrcoef(torch.stack([a, b]))[0, 1] > (0.999 if "8" in name else 0.9)


def plain(weight):
    """The integers of a torchao weight, any other weight itself."""
    return getattr(weight, "qdata", weight).detach()


def held(layer):
    """Bytes of the numbers that stand for a layer's weights."""
    if isinstance(layer, PackedLinear):
        return layer.codes.numel()
    weight = plain(layer.W_q if hasattr(layer, "W_q") else layer.weight)
    return weight.numel() * weight.element_size()


@pytest.mark.parametrize("name", BITS)
def test_qlora_learns_and_merges_into_the_full_weights(folder, name, tmp_path):
    config, base = load(folder, lora_rank=4, **BITS[name])
    adapter = ADAPTERS["lora"](config)
    net = adapter.attach(base)
    frozen = {key: plain(p).clone() for key, p in net.named_parameters() if not p.requires_grad}
    first, last = train(net, steps=1), train(net, steps=25)
    assert last < 0.8 * first
    assert all(torch.equal(frozen[key], plain(p)) for key, p in net.named_parameters() if key in frozen)
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


def test_an_evaluation_leaves_four_bits_as_they_lie(folder, monkeypatch):
    """On a CPU with AVX512-BF16, which this one is taken for, bitsandbytes would round the scales and pass no gradients on."""
    bitsandbytes = pytest.importorskip("bitsandbytes")
    monkeypatch.setattr(bitsandbytes.nn.modules, "has_avx512bf16", lambda: True)
    config, base = load(folder, lora_rank=4, quantization_bit=4)
    net = ADAPTERS["lora"](config).attach(base)
    weight = base.model.layers[0].mlp.up_proj.base_layer.weight
    before = weight.data.clone(), weight.quant_state.absmax.clone()
    with torch.no_grad():
        net.eval()(input_ids=torch.arange(8)[None])
    assert torch.equal(weight.data, before[0]) and torch.equal(weight.quant_state.absmax, before[1])


@pytest.mark.parametrize("name", ["torchao int8", "torchao int4", "hqq 4"])
def test_going_on_after_loading_is_as_never_having_stopped(folder, name, tmp_path):
    """Law 5 on a quantised base: the adapter read back into it learns on bit for bit."""
    config, base = load(folder, lora_rank=4, **BITS[name])
    adapter = ADAPTERS["lora"](config)
    net = adapter.attach(base)
    train(net, steps=3)
    adapter.save(net, tmp_path)
    _, again = load(folder, lora_rank=4, **BITS[name])
    other = adapter.attach(again)
    adapter.load(other, tmp_path)
    assert torch.equal(logits(net), logits(other))
    assert train(net, steps=3) == train(other, steps=3)


@pytest.mark.parametrize(("method", "bits", "said"), [("bnb", 3, "4 and 8 bits, not 3"), ("torchao", 3, "4 and 8 bits, not 3")])
def test_bits_that_a_method_has_not(folder, method, bits, said):
    with pytest.raises(ConfigError, match=said):
        load_model(Config(model_name_or_path=folder, quantization_bit=bits, quantization_method=method))


def test_eetq_says_what_is_missing(folder, monkeypatch):
    with pytest.raises(ModelError, match="eetq is not installed"):
        load_model(Config(model_name_or_path=folder, quantization_bit=8, quantization_method="eetq"))
    monkeypatch.setattr(quantize, "find_spec", lambda name: True)
    with pytest.raises(ModelError, match="needs an NVIDIA GPU"):
        load_model(Config(model_name_or_path=folder, quantization_bit=8, quantization_method="eetq"))


def test_a_model_stored_by_torchao_is_a_base(folder, tmp_path):
    _, small = load(folder, **BITS["torchao int8"])
    small.save_pretrained(tmp_path / "stored")
    config, base = load(str(tmp_path / "stored"), lora_rank=4)
    assert torch.equal(logits(base), logits(small))
    net = ADAPTERS["lora"](config).attach(base)
    assert train(net, steps=20) < 0.9 * train(ADAPTERS["lora"](config).attach(load(folder)[1]), steps=1)


@pytest.mark.parametrize("bits", [4, 8])
def test_an_adapter_of_a_model_stored_by_bitsandbytes_merges_into_full_weights(folder, tmp_path, bits):
    _, small = load(folder, quantization_bit=bits)
    small.save_pretrained(tmp_path / "stored")
    config, base = load(str(tmp_path / "stored"), lora_rank=4)
    net = ADAPTERS["lora"](config).attach(base)
    first = train(net, steps=1)
    assert train(net, steps=20) < 0.9 * first
    (tmp_path / "adapter").mkdir()
    ADAPTERS["lora"](config).save(net, tmp_path / "adapter")
    given = Config(model_name_or_path=config.model_name_or_path, adapter_name_or_path=[str(tmp_path / "adapter")])
    whole = load_model(given, dtype=torch.float32, whole=True)
    assert not whole.is_quantized and not hasattr(whole.config, "quantization_config")
    merged = ADAPTERS["lora"](given).merge(ADAPTERS["lora"](given).attach(whole, trainable=False))
    a, b = logits(merged).flatten(), logits(net).flatten()
    assert torch.corrcoef(torch.stack([a, b]))[0, 1] > 0.9999


def test_what_cannot_be_made_full_again_says_so(folder, tmp_path):
    _, small = load(folder, **BITS["torchao int8"])
    small.save_pretrained(tmp_path / "stored")
    with pytest.raises(ModelError, match="stored as torchao: its full weights are gone"):
        load_model(Config(model_name_or_path=str(tmp_path / "stored")), dtype=torch.float32, whole=True)


def test_a_model_stored_in_fp8_is_a_base(folder, tmp_path):
    """Blocks of 128 x 128 weights in float8 with a scale, as DeepSeek and Qwen publish them; on a CPU they become bfloat16."""
    from safetensors.torch import load_file, save_file

    tensors, stored = load_file(f"{folder}/model.safetensors"), {}
    for name, tensor in tensors.items():
        stored[name] = tensor
        if name.endswith("_proj.weight"):
            scale = tensor.abs().amax() / 448
            stored[name] = (tensor / scale).to(torch.float8_e4m3fn)
            stored[f"{name}_scale_inv"] = scale.view(1, 1).float()
    _, full = load(folder)
    quantised = {"quant_method": "fp8", "weight_block_size": [128, 128], "activation_scheme": "dynamic", "fmt": "e4m3"}
    store(tmp_path / "model", quantised)
    save_file(stored, f"{folder}/model.safetensors", metadata={"format": "pt"})
    config, base = load(folder, lora_rank=4)
    a, b = logits(full).flatten(), logits(base).float().flatten()
    assert torch.corrcoef(torch.stack([a, b]))[0, 1] > 0.99
    net = ADAPTERS["lora"](config).attach(base)
    first = train(net, steps=1)
    assert train(net, steps=20) < 0.9 * first


def test_a_missing_package_is_named_before_anything_is_read(folder, monkeypatch):
    monkeypatch.setattr(quantize, "find_spec", lambda name: None)
    for method in PACKAGE:
        with pytest.raises(ModelError, match=f"{PACKAGE[method]} is not installed") as caught:
            load_model(Config(model_name_or_path=folder, quantization_bit=8, quantization_method=method))
        assert f"pip install 'luthier[{method}]'" in str(caught.value)


@pytest.mark.parametrize("method", ["aqlm", "auto-round"])
def test_models_that_are_stored_quantised_say_what_they_need(folder, method, tmp_path):
    store(tmp_path / "model", {"quant_method": method, "bits": 4})
    with pytest.raises(ModelError, match=f"stored as {method}, and {quantize.PACKAGES[method][0]} is not installed"):
        load_model(Config(model_name_or_path=folder))


def store(folder, settings):
    """Give config.json of folder these settings of its quantisation."""
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"quantization_config": settings}))
