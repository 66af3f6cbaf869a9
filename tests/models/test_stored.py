"""Models that are stored by GPTQ or AWQ: read as their definition says, learned on, merged, refused where they cannot be."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from luthier.adapters import ADAPTERS
from luthier.config import Config
from luthier.errors import ModelError
from luthier.models.load import load_model
from luthier.models.packed import PackedLinear
from luthier.models.score import Scorer
from luthier.packing import awq, gptq
from luthier.packing.codes import Codes
from tests.adapters.conftest import logits, train
from tests.conftest import make_tiny

GROUP = 16
STORED = {
    "gptq 4": {"quant_method": "gptq", "bits": 4},
    "gptq 8": {"quant_method": "gptq", "bits": 8},
    "gptq 3": {"quant_method": "gptq", "bits": 3},
    "gptq 2": {"quant_method": "gptq", "bits": 2},
    "gptq 4 sorted": {"quant_method": "gptq", "bits": 4, "desc_act": True},
    "gptq v2": {"quant_method": "gptq", "bits": 4, "checkpoint_format": "gptq_v2"},
    "awq": {"quant_method": "awq", "bits": 4, "version": "gemm"},
}


def rounded(weight, bits):
    """Each weight to the nearest step between the smallest and the largest of its group."""
    parts = weight.reshape(len(weight), -1, GROUP)
    low, high, top = parts.amin(-1), parts.amax(-1), 2**bits - 1
    scales = ((high - low) / top).half()
    zeros = (-low / scales.float()).round().clamp(1, top).short()
    codes = (parts / scales.float()[..., None] + zeros[..., None]).round().clamp(0, top).to(torch.uint8)
    return Codes(codes=codes.reshape(weight.shape), zeros=zeros, scales=scales)


@pytest.fixture
def stored(tmp_path):
    """A function that gives (folder of full weights, as they are meant; folder of the same in few bits)."""

    def make(name, family="qwen2"):
        model = make_tiny(family, hidden_size=64, head_dim=16, intermediate_size=96)
        model.save_pretrained(tmp_path / "full")
        model.save_pretrained(tmp_path / "few")
        tensors, meant = load_file(tmp_path / "full" / "model.safetensors"), {}
        settings, files = STORED[name], {}
        for key, tensor in tensors.items():
            if not key.endswith("_proj.weight"):
                files[key] = meant[key] = tensor
                continue
            order = torch.arange(tensor.shape[1])
            if settings.get("desc_act"):
                order = torch.randperm(len(order), generator=torch.Generator().manual_seed(1))
            codes = rounded(tensor[:, order], settings["bits"])
            back = order.argsort()
            meant[key] = codes.weight[:, back]
            layer = Codes(codes=codes.codes[:, back], zeros=codes.zeros, scales=codes.scales)
            if settings["quant_method"] == "awq":
                packed = awq.pack(layer)
            else:
                plus = int(settings.get("checkpoint_format") == "gptq_v2")  # pack takes 1 off
                packed = gptq.pack(Codes(codes=layer.codes, zeros=layer.zeros + plus, scales=layer.scales), settings["bits"])
                packed["g_idx"] = (back // GROUP).int()
            files |= {key.replace("weight", last): part for last, part in packed.items()}
        save_file(meant, tmp_path / "full" / "model.safetensors", metadata={"format": "pt"})
        save_file(files, tmp_path / "few" / "model.safetensors", metadata={"format": "pt"})
        tell(tmp_path / "few", settings | {"group_size": GROUP})
        return str(tmp_path / "full"), str(tmp_path / "few")

    return make


def tell(folder, settings):
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"quantization_config": settings}))


def load(folder, whole=False, dtype=torch.float32, **keys):
    config = Config(model_name_or_path=folder, **keys)
    return config, load_model(config, dtype=dtype, for_training=True, whole=whole)


@pytest.mark.parametrize("name", STORED)
def test_it_says_what_the_weights_that_are_meant_say(stored, name):
    full, few = stored(name)
    _, small = load(few)
    layer = small.model.layers[1].mlp.down_proj
    assert isinstance(layer, PackedLinear) and small.is_quantized
    bits = {3: 4}.get(STORED[name]["bits"], STORED[name]["bits"])
    assert layer.codes.numel() == 64 * 96 * bits // 8
    torch.testing.assert_close(logits(small), logits(load(full)[1]), atol=1e-6, rtol=0)
    assert Scorer(small).layout == "packed"


@pytest.mark.parametrize("name", ["gptq 4 sorted", "awq"])
def test_an_adapter_learns_as_over_the_full_weights_and_merges_into_them(stored, name, tmp_path):
    """Law 6: the gradients that pass the packed layers are those of full ones; law 4: merged == attached."""
    full, few = stored(name)
    last, nets = {}, {}
    for folder in (full, few):
        config, model = load(folder, lora_rank=4)
        torch.manual_seed(0)
        nets[folder] = ADAPTERS["lora"](config).attach(model)
        first = train(nets[folder], steps=1)
        last[folder] = train(nets[folder], steps=20)
        assert last[folder] < 0.8 * first
    assert last[few] == pytest.approx(last[full], abs=1e-4)
    (tmp_path / "adapter").mkdir()
    ADAPTERS["lora"](config).save(nets[few], tmp_path / "adapter")
    given, whole = load(few, whole=True, adapter_name_or_path=[str(tmp_path / "adapter")])
    assert not whole.is_quantized and not hasattr(whole.config, "quantization_config")
    merged = ADAPTERS["lora"](given).merge(ADAPTERS["lora"](given).attach(whole, trainable=False))
    assert not any(isinstance(module, PackedLinear) for module in merged.modules())
    torch.testing.assert_close(logits(merged), logits(nets[few]), atol=1e-4, rtol=0)


def test_a_head_in_few_bits_gets_full_weights(tmp_path):
    """Scores multiply by the head's own weight."""
    model = make_tiny("qwen2", vocab_size=128, tie_word_embeddings=False)
    codes = rounded(model.lm_head.weight.detach(), 4)
    model.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    del tensors["lm_head.weight"]
    tensors |= {f"lm_head.{last}": part for last, part in gptq.pack(codes, 4).items()}
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    tell(tmp_path, {"quant_method": "gptq", "bits": 4})
    _, read = load(str(tmp_path))
    assert type(read.lm_head) is torch.nn.Linear and torch.equal(read.lm_head.weight, codes.weight)


@pytest.mark.parametrize("keys", [{"use_dora": True}, {"finetuning_type": "oft"}])
def test_other_adapters_learn_on_it(stored, keys):
    config, model = load(stored("gptq 4")[1], lora_rank=4, **keys)
    net = ADAPTERS[config.finetuning_type](config).attach(model)
    first = train(net, steps=1)
    assert train(net, steps=20) < 0.9 * first


def test_in_half_precision_the_product_is_rounded_once(stored):
    full, few = stored("awq")
    layer = load(few, dtype=torch.bfloat16)[1].model.layers[0].mlp.up_proj
    assert torch.equal(layer.weight, load(full)[1].model.layers[0].mlp.up_proj.weight.bfloat16())


def test_nothing_merges_into_codes(stored, tmp_path):
    config, model = load(stored("awq")[1], lora_rank=4)
    with pytest.raises(ModelError, match="an adapter merged into them would be rounded too"):
        ADAPTERS["lora"](config).merge(ADAPTERS["lora"](config).attach(model))


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"quant_method": "awq", "version": "gemv"}, 'awq with version "gemv"; gemm can be read'),
     ({"quant_method": "gptq", "checkpoint_format": "marlin"}, 'gptq with checkpoint_format "marlin"; gptq and gptq_v2')],
)  # fmt: skip
def test_layouts_that_are_not_read(stored, settings, said, tmp_path):
    few = stored("awq")[1]
    tell(tmp_path / "few", settings)
    with pytest.raises(ModelError, match=said):
        load(few)


def test_what_learns_must_be_an_adapter(stored):
    with pytest.raises(ModelError, match="stored as awq: rounded weights cannot learn"):
        load(stored("awq")[1], finetuning_type="full", do_train=True)
    with pytest.raises(ModelError, match=r"quantised already \(awq\)"):
        load(stored("awq")[1], quantization_bit=4)


def test_experts_that_are_held_as_one_are_refused_by_name(tmp_path):
    model = make_tiny("qwen3_moe", moe_intermediate_size=32, num_experts=2, num_experts_per_tok=1)
    model.save_pretrained(tmp_path / "moe")
    file = tmp_path / "moe" / "model.safetensors"
    tensors = load_file(file)
    name = next(key for key in tensors if "experts.0" in key).removesuffix(".weight")
    tensors |= {f"{name}.{last}": part for last, part in awq.pack(rounded(tensors.pop(f"{name}.weight"), 4)).items()}
    save_file(tensors, file, metadata={"format": "pt"})
    tell(tmp_path / "moe", {"quant_method": "awq"})
    with pytest.raises(ModelError, match="holds the experts of a layer as one"):
        load(str(tmp_path / "moe"))
