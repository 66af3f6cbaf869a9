"""AWQ's files: written, read again, and by another reader."""

import pytest
import torch

from luthier.packing.awq import pack, unpack
from luthier.packing.codes import Codes


def layer_of(group=32):
    generator = torch.Generator().manual_seed(3)
    codes = torch.randint(16, (64, 96), generator=generator, dtype=torch.uint8)
    zeros = torch.randint(16, (64, 96 // group), generator=generator, dtype=torch.int16)
    return Codes(codes=codes, zeros=zeros, scales=torch.rand(64, 96 // group, generator=generator).half() + 0.1)


def test_words_hold_neighbouring_outputs_in_their_order():
    layer = layer_of()
    packed = pack(layer)
    assert packed["qweight"].shape == (96, 8) and packed["qzeros"].shape == (3, 8) and packed["scales"].shape == (3, 64)
    for name, codes in (("qweight", layer.codes), ("qzeros", layer.zeros)):
        number = int(packed[name][2, 5]) & 0xFFFFFFFF
        assert [number >> (4 * place) & 15 for place in range(8)] == [int(codes[40 + i, 2]) for i in (0, 2, 4, 6, 1, 3, 5, 7)]
    assert torch.equal(unpack(packed).weight, layer.weight)


def by_compressed_tensors(tensors, name, group):
    """The weight as compressed-tensors' converter of AutoAWQ's files reads it."""
    from compressed_tensors.entrypoints.convert.converters import AutoAWQConverter

    parts = [tensors[f"{name}.{last}"] for last in ("qweight", "scales", "qzeros")]
    codes, scales, zeros = AutoAWQConverter(group_size=group)._convert_gemm_module(*parts)
    centred = codes.float() - zeros.float().repeat_interleave(group, 1)
    return centred * scales.float().repeat_interleave(group, 1)


def test_another_reader_unpacks_the_same():
    pytest.importorskip("compressed_tensors")
    layer = layer_of()
    tensors = {f"layer.{last}": tensor for last, tensor in pack(layer).items()}
    torch.testing.assert_close(by_compressed_tensors(tensors, "layer", 32), layer.weight, atol=0, rtol=0)
