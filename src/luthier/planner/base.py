"""The contract of the forecast: what a training will need, and how its micro-batches are cut so that it fits.

footprint.measure(net) -> Footprint (what one token costs), forecast.make_plan(config, footprint, work, machine) -> Plan
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """micro_batch_tokens: tokens that go through the model at once.  gradient_checkpointing: whether activations are made again
    in the backward pass.  memory: bytes at the peak by part ("weights", "gradients", "optimizer", "activations", "logits" ...).
    step_s: seconds of one optimizer step, None where the machine's speed is not known.  fits: None where that is unknown.
    note: one sentence for the user, or ""."""

    micro_batch_tokens: int
    gradient_checkpointing: bool
    memory: Mapping[str, int] = field(default_factory=dict)
    step_s: float | None = None
    fits: bool | None = None
    note: str = ""

    @property
    def peak_bytes(self) -> int:
        return sum(self.memory.values())
