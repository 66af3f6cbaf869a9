"""Which modules of a model a low-rank adapter goes to: `all`, names, or a regular expression -> what peft understands."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from luthier.errors import ConfigError
from luthier.registry import nearest

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

log = logging.getLogger(__name__)


def linear_layers(model: PreTrainedModel) -> dict[str, nn.Module]:
    """Every linear layer but the output head: full name -> module."""
    head = model.get_output_embeddings()
    return {name: module for name, module in model.named_modules() if is_linear(module) and module is not head}


def is_linear(module: nn.Module) -> bool:
    """Whether this is a linear layer, of full weights or quantised by any library: those name the sizes of both sides."""
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    sizes = (getattr(module, name, None) for name in ("in_features", "out_features"))
    return isinstance(module, nn.Linear | Conv1D) or all(isinstance(size, int) for size in sizes)


def parameter_count(model: nn.Module) -> int:
    """Weights and biases, as the full model has them: a quantised layer holds its weights in fewer numbers."""
    total, seen = 0, set()
    for module in model.modules():
        own = {name: p for name, p in module.named_parameters(recurse=False) if id(p) not in seen}
        seen |= {id(p) for p in own.values()}
        if own.keys() - {"bias"} and all(
            isinstance(getattr(module, size, None), int) for size in ("in_features", "out_features")
        ):
            bias = own.get("bias")
            total += module.in_features * module.out_features + (0 if bias is None else bias.numel())
        else:
            total += sum(
                p.numel() for p in own.values() if p.is_floating_point()
            )  # a quantised base in parts has rows of bytes
    return total


def find_targets(model: PreTrainedModel, wanted: Sequence[str]) -> list[str] | str:
    """lora_target as a sorted list of names (each the end of a module's name) or as one regular expression over full names.

    Raises ConfigError that lists the linear layers where nothing matches; a name of several that matches nothing is a warning.
    """
    leaves = sorted({name.rsplit(".", 1)[-1] for name in linear_layers(model)})
    if "all" in wanted:
        return leaves
    every = [name for name, _ in model.named_modules()]
    if len(wanted) == 1 and re.search(r"[*+?()\[\]|\\^$]", wanted[0]):
        if any(re.fullmatch(wanted[0], name) for name in every):
            return wanted[0]
        raise _nothing(wanted, leaves)
    found = [name for name in wanted if any(full == name or full.endswith(f".{name}") for full in every)]
    if not found:
        raise _nothing(wanted, leaves)
    for name in set(wanted) - set(found):
        log.warning('lora_target: this model has no layer "%s"; its linear layers are %s.', name, ", ".join(leaves))
    return sorted(found)


def embedding_names(model: PreTrainedModel) -> list[str]:
    """The last parts of the names of the embeddings that must learn for new words to mean something."""
    wanted = [model.get_input_embeddings()]
    if not model.config.get_text_config().tie_word_embeddings:
        wanted.append(model.get_output_embeddings())
    return [name.rsplit(".", 1)[-1] for name, module in model.named_modules() if any(module is each for each in wanted)]


def _nothing(wanted: Sequence[str], leaves: list[str]) -> ConfigError:
    close = nearest(wanted[0], leaves)
    hint = f'Did you mean "{close[0]}"? ' if close else ""
    return ConfigError(
        f"lora_target: {', '.join(wanted)} matches no layer of this model.", f"{hint}Its linear layers: {', '.join(leaves)}"
    )
