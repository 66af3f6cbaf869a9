"""Decoder layers compiled by torch.compile, part by part, each part's graph good for rows of every length.

What is compiled are the children of a layer (norms, attention, MLP): activation checkpointing stays around them and runs the
same graphs again, and parameters keep their names. Attention inside segments stays as it is (models/attention.py). The plain
layers are the reference beside it: losses and gradients agree to rounding.
"""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from typing import TYPE_CHECKING

from luthier.errors import ModelError
from luthier.models.attention import ATTENTION, segment_attention

if TYPE_CHECKING:
    import torch
    from torch import nn

    from luthier.config import Config

COMPILERS = ("g++", "clang++", "cl")


def wants_compiled(config: Config) -> bool:
    """As in transformers, naming a backend or a mode asks for it too."""
    return bool(config.torch_compile or config.torch_compile_backend or config.torch_compile_mode)


def require_compiler(config: Config, device: torch.device) -> None:
    """ModelError where inductor is to compile and its tools are missing: a C++ compiler, and Triton on a GPU."""
    if not wants_compiled(config) or config.torch_compile_backend not in (None, "inductor"):
        return
    missing = None
    if not any(map(shutil.which, COMPILERS)):
        missing = f"a C++ compiler ({', '.join(COMPILERS)}), and none is on the PATH", "Install one (apt install g++)"
    elif device.type == "cuda" and find_spec("triton") is None:
        missing = "Triton on a GPU, which is not installed", "pip install triton"
    if missing:
        raise ModelError(f"torch_compile: inductor needs {missing[0]}.", f"{missing[1]}, or take torch_compile out.")


def compile_layers(config: Config, model: nn.Module) -> None:
    """Let the parts of every decoder layer be compiled at their first use, in place, where config asks for it.

    Raises ModelError where the model's layers are not transformers' own kind.
    """
    if not wants_compiled(config):
        return
    import torch
    from transformers import AttentionInterface
    from transformers.modeling_layers import GradientCheckpointingLayer

    layers = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
    if not layers:
        raise ModelError(
            "torch_compile: this model brings layers of its own, and where they can be cut is not known.",
            "Take torch_compile out.",
        )
    AttentionInterface.register(ATTENTION, torch.compiler.disable(segment_attention))
    for part in (child for layer in layers for child in layer.children()):
        part.compile(backend=config.torch_compile_backend or "inductor", mode=config.torch_compile_mode, dynamic=True)
