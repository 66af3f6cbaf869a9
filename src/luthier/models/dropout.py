"""Dropout off: a loss that compares the model with a reference must see the same network twice."""

from __future__ import annotations

from torch import nn


def disable_dropout(model: nn.Module) -> float:
    """Set every dropout of model to 0, in place; returns the largest there was."""
    largest = 0.0
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            largest, module.p = max(largest, module.p), 0.0
        rate = getattr(module, "attention_dropout", 0.0)
        if isinstance(rate, float) and rate:
            largest, module.attention_dropout = max(largest, rate), 0.0
    return largest
