"""Law 6: the lean LoRA layer over 4 bits is peft's own, which stays beside it."""

import pytest
import torch

from luthier.adapters import ADAPTERS
from luthier.config import Config
from luthier.models.load import load_model
from tests.conftest import make_tiny

pytest.importorskip("bitsandbytes")
from peft.tuners.lora.bnb import Linear4bit

from luthier.adapters.lora_4bit import Lora4bit


@pytest.fixture
def layer(tmp_path):
    """A layer of a trained adapter: B is no longer zero."""

    def make(dropout: float = 0.0) -> Lora4bit:
        make_tiny("qwen3", hidden_size=64, head_dim=16, intermediate_size=128).save_pretrained(tmp_path)
        config = Config(model_name_or_path=str(tmp_path), quantization_bit=4, lora_dropout=dropout)
        net = ADAPTERS["lora"](config).attach(load_model(config, dtype=torch.float32, for_training=True))
        found = next(module for module in net.modules() if isinstance(module, Linear4bit))
        assert type(found) is Lora4bit
        torch.nn.init.normal_(found.lora_B["default"].weight)
        return found

    return make


def pass_through(layer, forward):
    """(output, gradient of x, of A, of B) of one pass."""
    torch.manual_seed(0)
    x = torch.randn(2, 5, 64, requires_grad=True)
    layer.zero_grad()
    y = forward(x * 1.0)
    (y * torch.linspace(-1, 1, y.numel()).view_as(y)).sum().backward()
    return y.detach(), x.grad, layer.lora_A["default"].weight.grad.clone(), layer.lora_B["default"].weight.grad.clone()


@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_output_and_gradients_are_pefts(layer, dropout):
    ours = layer(dropout)
    lean = pass_through(ours, ours)
    plain = pass_through(ours, lambda x: Linear4bit.forward(ours, x))
    for mine, theirs in zip(lean, plain):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)


def test_under_autocast_within_bfloat16(layer):
    ours = layer()
    with torch.autocast("cpu", torch.bfloat16):
        lean = pass_through(ours, ours)
        plain = pass_through(ours, lambda x: Linear4bit.forward(ours, x))
    assert lean[0].dtype == plain[0].dtype
    for mine, theirs in zip(lean, plain):
        torch.testing.assert_close(mine, theirs, rtol=0.02, atol=0.02 * float(theirs.abs().max()))


def test_disabled_it_is_the_base_alone(layer):
    ours, x = layer(), torch.randn(3, 64)
    ours.enable_adapters(False)
    torch.testing.assert_close(ours(x), ours.base_layer(x))
