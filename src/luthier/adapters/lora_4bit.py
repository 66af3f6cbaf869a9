"""The LoRA layer over bitsandbytes' linear layers of 4 bits, as lean as that over full weights (lora_layer.py).

peft's own copies what the frozen layer gives, and makes B A x, s B A x and the sum apart: five tensors of (tokens x out) where
one is enough. The frozen layer's result is a tensor of its own that nobody else needs, so the sum is made in it.
"""

from __future__ import annotations

from typing import Any

from peft.tuners.lora.bnb import Linear4bit
from torch import Tensor

from luthier.adapters.lora_layer import lean


class Lora4bit(Linear4bit):
    """peft's LoRA layer over 4 bits with a leaner forward; merging is peft's."""

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """x: (..., in).  Returns (..., out), in the dtype of x."""
        y = None if args or kwargs else lean(self, x)
        return super().forward(x, *args, **kwargs) if y is None else y
