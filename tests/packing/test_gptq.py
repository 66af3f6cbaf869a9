"""GPTQ's files: written, read again, and by another reader."""

import pytest
import torch

from luthier.packing.codes import Codes
from luthier.packing.gptq import pack, unpack

BITS = (2, 3, 4, 8)


def layer_of(bits, group=32):
    """A layer of 64 outputs and 96 inputs, codes and zero points of all sizes."""
    generator = torch.Generator().manual_seed(bits)
    codes = torch.randint(2**bits, (64, 96), generator=generator, dtype=torch.uint8)
    zeros = torch.randint(1, 2**bits, (64, 96 // group), generator=generator, dtype=torch.int16)
    return Codes(codes=codes, zeros=zeros, scales=torch.rand(64, 96 // group, generator=generator).half() + 0.1)


@pytest.mark.parametrize("bits", BITS)
def test_packed_and_unpacked_is_the_same(bits):
    layer, tensors = layer_of(bits), pack(layer_of(bits), bits)
    again = unpack(tensors, 96)
    for name in ("codes", "zeros", "scales"):
        assert torch.equal(getattr(again, name), getattr(layer, name)), name
    assert again.group_of is None and torch.equal(
        unpack({k: t for k, t in tensors.items() if k != "g_idx"}, 96).weight, layer.weight
    )


def test_a_layer_whose_inputs_were_sorted_by_importance():
    """desc_act: g_idx gives each input its group. Written out by hand, weight by weight."""
    layer, order = layer_of(4), torch.randperm(96, generator=torch.Generator().manual_seed(0)).int() // 32
    read = unpack(pack(layer, 4) | {"g_idx": order}, 96)
    for o, i in ((0, 0), (5, 17), (63, 95)):
        group = int(order[i])
        value = (int(layer.codes[o, i]) - int(layer.zeros[o, group])) * float(layer.scales[o, group])
        assert float(read.weight[o, i]) == pytest.approx(value, rel=1e-6)


def test_a_zero_point_of_zero_was_lent_to_by_its_neighbour():
    """Zero points 0 and 5 are 0x50; less 1 each, as a whole word, 0x3f."""
    layer = layer_of(4)
    layer.zeros[:8, 0] = torch.tensor([0, 5, 1, 1, 1, 1, 1, 1])
    tensors = pack(layer, 4)
    tensors["qzeros"][0, 0] = 0x3F
    assert torch.equal(unpack(tensors, 96).zeros, layer.zeros)


def test_the_second_version_stores_zero_points_as_they_are():
    layer = layer_of(4)
    tensors = pack(layer, 4)
    assert torch.equal(unpack(tensors, 96, first_zero=0).zeros, layer.zeros - 1)


@pytest.mark.parametrize("desc_act", [False, True])
@pytest.mark.parametrize("bits", BITS)
def test_gptqmodels_own_layer_computes_with_the_same_weights(bits, desc_act):
    """Its plain torch kernel, given the four tensors as a checkpoint's loader would give them."""
    pytest.importorskip("gptqmodel")
    from gptqmodel.nn_modules.qlinear.torch import TorchLinear
    from gptqmodel.utils.model import convert_gptq_v1_to_v2_format_module

    tensors = pack(layer_of(bits), bits)
    if desc_act:
        tensors["g_idx"] = torch.randperm(96, generator=torch.Generator().manual_seed(0)).int() // 32
    read = unpack(tensors, 96)
    layer = TorchLinear(bits=bits, group_size=32, sym=False, desc_act=desc_act, in_features=96, out_features=64, bias=False)
    layer.load_state_dict(tensors, strict=False)
    convert_gptq_v1_to_v2_format_module(layer, bits=bits, pack_dtype=torch.int32)
    layer.post_init()
    torch.testing.assert_close(layer.dequantize_weight().T.float(), read.weight, atol=1e-2, rtol=2e-3)
