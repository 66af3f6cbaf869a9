"""One GGUF file: written tensor by tensor, so that no second copy of the model is held, and read back as a model.

Enters: a model, its words and its shape. Leaves: the file; and from the file the weights, as transformers' model of the same
class computes with them.
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from luthier.errors import ExportError
from luthier.exporters.gguf_family import Family
from luthier.exporters.gguf_read import GgufContents
from luthier.exporters.gguf_tensors import Names, extra_tensors, from_gguf, own_names, stored_tensors

if TYPE_CHECKING:
    from gguf import GGMLQuantizationType, GGUFWriter
    from transformers import PretrainedConfig, PreTrainedModel

log = logging.getLogger(__name__)

FILE_TYPES = {"F32": 0, "F16": 1, "Q8_0": 7, "BF16": 32}
"""general.file_type of the formats that are written here."""

LARGEST_F16 = 65504.0


@contextmanager
def open_writer(file: Path, arch: str) -> Iterator[GGUFWriter]:
    """A writer whose file is closed however the block ends."""
    import gguf

    logging.getLogger("gguf").setLevel(logging.WARNING)
    writer = gguf.GGUFWriter(file, arch)
    try:
        yield writer
    finally:
        writer.close()


def write_tensors(writer: GGUFWriter, model: PreTrainedModel, family: Family, kind: str) -> dict[str, int]:
    """All weights, matrices in the format kind (F32, F16, BF16, Q8_0), the rest in F32; everything but weights is in writer.

    Returns the checksum of each tensor's bytes. A matrix whose rows do not divide into blocks is kept in F16, and named.
    """
    kinds = _kinds(model, family, kind)
    for name, shape in _shapes(model, family).items():
        stored = _stored_shape(shape, kinds[name])
        element = np.dtype(np.uint8) if kinds[name].name in ("Q8_0", "BF16") else _numpy(kinds[name])
        writer.add_tensor_info(name, stored, element, int(np.prod(stored)) * element.itemsize, raw_dtype=kinds[name])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    sums = {}
    for name, tensor in _all(model, family):
        data = encode(name, tensor, kinds[name])
        sums[name] = zlib.crc32(data)
        writer.write_tensor_data(data)
    return sums


def encode(name: str, tensor: Tensor, kind: GGMLQuantizationType) -> np.ndarray:
    """The bytes of one tensor. Raises ExportError for numbers that the format cannot hold."""
    from gguf import quants

    values = tensor.detach().to("cpu", torch.float32).contiguous().numpy()
    if not np.isfinite(values).all():
        raise ExportError(f"the weight {name} holds NaN or infinity.", "Train again with a lower learning_rate.")
    if kind.name == "F16" and float(np.abs(values).max(initial=0.0)) > LARGEST_F16:
        raise ExportError(
            f"the weight {name} holds {np.abs(values).max():.3g}, more than float16 can.", "Set export_gguf_type: bf16 or f32."
        )
    return np.ascontiguousarray(quants.quantize(values, kind))


def read_sums(contents: GgufContents) -> dict[str, int]:
    """The checksum of each tensor's bytes in a file."""
    return {tensor.name: zlib.crc32(tensor.data) for tensor in contents.tensors}


def read_weights(contents: GgufContents, config: PretrainedConfig, family: Family) -> Iterator[tuple[str, Tensor]]:
    """(name in the model, float32 weight) of every tensor that belongs to the model."""
    own = {Names(config, family)(name): name for name in _names_of(config)}
    for tensor in contents.tensors:
        if tensor.name in own:
            name = own[tensor.name]
            yield name, from_gguf(torch.from_numpy(np.array(tensor.values())), name, config, family)


def relative_error(contents: GgufContents, exact: GgufContents) -> Mapping[str, float]:
    """Root mean square error of each tensor relative to its own root mean square in exact."""
    originals = {tensor.name: tensor for tensor in exact.tensors}
    errors = {}
    for tensor in contents.tensors:
        values = originals[tensor.name].values().astype(np.float64)
        size = float(np.sqrt(np.mean(values**2)))
        errors[tensor.name] = float(np.sqrt(np.mean((tensor.values() - values) ** 2))) / max(size, 1e-30)
    return errors


def _all(model: PreTrainedModel, family: Family) -> Iterator[tuple[str, Tensor]]:
    for name, _, tensor in stored_tensors(model, family):
        yield name, tensor
    yield from extra_tensors(model)


def _shapes(model: PreTrainedModel, family: Family) -> dict[str, torch.Size]:
    """As _all, without the tensors."""
    names, state = Names(model.config, family), model.state_dict()
    shapes = {names(name): state[name].shape for name in own_names(state, model.config)}
    return shapes | {name: tensor.shape for name, tensor in extra_tensors(model)}


def _kinds(model: PreTrainedModel, family: Family, kind: str) -> dict[str, GGMLQuantizationType]:
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    wanted, odd, kinds = GGMLQuantizationType[kind], [], {}
    block = GGML_QUANT_SIZES[wanted][0]
    for name, shape in _shapes(model, family).items():
        kinds[name] = wanted if len(shape) > 1 else GGMLQuantizationType.F32
        if len(shape) > 1 and shape[-1] % block:
            odd.append(name)
            kinds[name] = GGMLQuantizationType.F16
    if odd:
        log.warning("%d of %d tensors have rows that %s cannot cut into %d: they are F16.", len(odd), len(kinds), kind, block)
    return kinds


def _stored_shape(shape: torch.Size, kind: GGMLQuantizationType) -> tuple[int, ...]:
    """The shape of the array that holds it: bytes for the formats that numpy does not have."""
    from gguf import quants

    return quants.quant_shape_to_byte_shape(shape, kind) if kind.name in ("Q8_0", "BF16") else tuple(shape)


def _numpy(kind: GGMLQuantizationType) -> np.dtype:
    return np.dtype(np.float16 if kind.name == "F16" else np.float32)


def _names_of(config: PretrainedConfig) -> list[str]:
    """The names of all weights of a model of this configuration, but for a tied output layer."""
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        state = AutoModelForCausalLM.from_config(config).state_dict()
    return list(own_names(state, config))
