"""What is counted on the meta device is what autograd really keeps on the CPU, and the work that torch's own counter counts."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from luthier.adapters import ADAPTERS
from luthier.config import Config
from luthier.planner.footprint import measure
from tests.conftest import make_tiny

FAMILIES = ["qwen3", "llama", "phi3", "mistral"]
METHODS = {
    "full": {"finetuning_type": "full"},
    "freeze": {"finetuning_type": "freeze", "freeze_trainable_layers": 1},
    "lora": {"finetuning_type": "lora"},
}


def net_of(family: str, keys: dict, device: str):
    with torch.device(device):
        model = make_tiny(family, attn_implementation="sdpa")
        return ADAPTERS[keys["finetuning_type"]](Config(model_name_or_path="x", **keys)).attach(model).train()


def really_kept(net, tokens: int) -> float:
    """Bytes a token of all tensors that autograd keeps in a real forward pass on the CPU, parameters not counted."""
    own = {parameter.untyped_storage().data_ptr() for parameter in net.parameters()}
    kept = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = (storage.nbytes(), tensor)  # the tensor stays alive, so its address stays its own
        return tensor

    base = net.get_base_model() if hasattr(net, "get_base_model") else net
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        base.get_decoder()(input_ids=torch.zeros(1, tokens, dtype=torch.long), use_cache=False)
    return sum(size for size, _ in kept.values()) / tokens


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("family", FAMILIES)
def test_kept_bytes_are_those_of_a_real_forward_pass(family, method):
    counted = measure(net_of(family, METHODS[method], "meta")).kept
    assert counted == pytest.approx(really_kept(net_of(family, METHODS[method], "cpu"), 64), rel=0.15)


@pytest.mark.parametrize("method", METHODS)
def test_checkpointing_keeps_little(method):
    footprint = measure(net_of("qwen3", METHODS[method], "meta"))
    net = net_of("qwen3", METHODS[method], "cpu")
    base = net.get_base_model() if hasattr(net, "get_base_model") else net
    base.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    assert footprint.kept_checkpointed < footprint.kept / 3
    assert footprint.kept_checkpointed == pytest.approx(really_kept(net, 64), rel=0.3)


@pytest.mark.parametrize("method", METHODS)
def test_parameters_are_counted(method):
    real = net_of("qwen3", METHODS[method], "cpu")
    footprint = measure(net_of("qwen3", METHODS[method], "meta"))
    assert footprint.parameters == sum(p.numel() for p in real.parameters())
    assert footprint.trainable == sum(p.numel() for p in real.parameters() if p.requires_grad)
    assert footprint.weight_bytes == 4 * footprint.parameters
    assert footprint.head_learns == (method == "full")


@pytest.mark.parametrize("method", METHODS)
def test_work_is_what_torch_counts(method):
    """Multiply-adds of the decoder's matrices forward and backward; attention's own products are left out of the count."""
    footprint = measure(net_of("qwen3", METHODS[method], "meta"))
    net, tokens = net_of("qwen3", METHODS[method], "cpu"), 64
    base = net.get_base_model() if hasattr(net, "get_base_model") else net
    with FlopCounterMode(display=False) as counter:
        base.get_decoder()(
            input_ids=torch.zeros(1, tokens, dtype=torch.long), use_cache=False
        ).last_hidden_state.sum().backward()
    products = sum(
        n for op, n in counter.get_flop_counts()["Global"].items() if "attention" not in str(op) and "bmm" not in str(op)
    )
    mine = 2 * tokens * (footprint.linear + footprint.needing_gradient + footprint.learning)
    assert mine == pytest.approx(products, rel=0.1)


def test_experts_that_cannot_be_counted_are_estimated():
    with torch.device("meta"):
        model = make_tiny("qwen3_moe")
    footprint = measure(model)
    assert footprint.kept > footprint.kept_checkpointed > 0
    experts = sum(p.numel() for name, p in model.named_parameters() if ".experts." in name)
    assert footprint.linear < footprint.parameters - experts / 2


def test_attention_is_given_back():
    net = net_of("qwen3", METHODS["lora"], "meta")
    measure(net)
    assert net.get_base_model().config._attn_implementation == "sdpa"
