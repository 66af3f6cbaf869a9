"""Every way to have fewer bits that a config accepts is in the table, and the numbers are those of the libraries."""

from typing import get_args

import pytest
import torch

from luthier.config.keys.quantization import QuantizationKeys
from luthier.models.quantize import BITS, PACKAGES, PACKED, WHOLE
from luthier.planner.bits import loaded_bits, stored_bits, table

METHODS = get_args(QuantizationKeys.model_fields["quantization_method"].annotation)


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize(("method", "bits"), [(method, bits) for method in METHODS for bits in BITS[method]])
def test_every_accepted_way_is_in_the_table(method, bits, double):
    assert bits <= loaded_bits(method, bits, double=double, value_bits=16) < 1.1 * max(bits, 8)


def test_every_stored_way_is_in_the_table():
    assert set(table()["stored"]) >= {*PACKAGES, *PACKED} - set(WHOLE)
    assert stored_bits({}, value_bits=16) is None
    assert stored_bits({"quant_method": "gptq", "bits": 4, "group_size": 128}, value_bits=16) == 4 + 32 / 128
    assert stored_bits({"quant_method": "awq", "w_bit": 4, "q_group_size": 64}, value_bits=16) == 4 + 32 / 64
    nested = {"quant_method": "torchao", "quant_type": {"default": {"bits": 4, "group_size": 128}}}
    assert 4 < stored_bits(nested, value_bits=16) < 4.3


@pytest.mark.parametrize(("double", "kind"), [(False, "nf4"), (True, "nf4"), (True, "fp4")])
def test_four_bits_are_what_bitsandbytes_holds(double, kind):
    bnb = pytest.importorskip("bitsandbytes")
    layer = bnb.nn.Linear4bit(512, 512, bias=False, compress_statistics=double, quant_type=kind).to("cpu")
    tensors = {**layer.state_dict()}
    scales = [value for name, value in tensors.items() if "absmax" in name and "map" not in name]
    held = sum(value.numel() * value.element_size() for value in [tensors["weight"], *scales])
    assert 8 * held / 512**2 == pytest.approx(loaded_bits("bnb", 4, double=double, value_bits=32), rel=0.005)


@pytest.mark.parametrize("bits", BITS["hqq"])
def test_bits_are_what_hqq_holds(bits):
    quantize = pytest.importorskip("hqq.core.quantize")
    settings = quantize.BaseQuantizeConfig(nbits=bits, group_size=64, axis=1)
    layer = quantize.HQQLinear(torch.nn.Linear(640, 640, bias=False), settings, compute_dtype=torch.float32, device="cpu")
    held = sum(value.numel() * value.element_size() for value in (layer.W_q, layer.meta["scale"], layer.meta["zero"]))
    assert 8 * held / 640**2 == pytest.approx(loaded_bits("hqq", bits, double=False, value_bits=32), rel=0.03)
