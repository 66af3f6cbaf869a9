"""The contract of a training stage: which sample it wants, how that becomes ids and labels, and its loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from luthier.types import Batch, Encoded, LossOutput, Sample

if TYPE_CHECKING:
    from torch import Tensor

    from luthier.models.score import Scorer
    from luthier.templates.base import Template


class Stage(Protocol):
    """One stage (pt, sft, dpo ...), made from the config: STAGES[name](config).

    sample: the sample class that the stage learns from.
    goal: the number of an evaluation that says which model is better: "loss", or "reward" of answers to held-out prompts.
    unit: what one optimizer step averages over: "token" (supervised tokens) or "sample".
    needs_reference: the loss compares with scorer.reference, a model that does not learn; dropout is off then.
    needs_head: the loss reads scorer.head, one number a token made of the last hidden states.
    looks_ahead: look_ahead sees every micro-batch of a step, without gradients, before loss sees the first of them.
    """

    name: str
    sample: type[Sample]
    unit: str
    goal: str
    needs_reference: bool
    needs_head: bool
    looks_ahead: bool

    def encode(self, samples: Sequence[Sample], template: Template) -> list[list[Encoded]]:
        """Ids and labels of each sample: usually one Encoded, several where it was split, none where nothing is left to learn.

        The caller counts and reports what was cut (Encoded.cut_tokens) and what was left out.
        """
        ...

    def loss(self, scorer: Scorer, batch: Batch) -> LossOutput:
        """The summed loss of one micro-batch, in nats."""
        ...

    def look_ahead(self, scorer: Scorer, batch: Batch) -> Mapping[str, tuple[Tensor | float, Tensor | float]]:
        """name -> (sum, count); the trainer adds them up over the micro-batches of the step, on all devices."""
        ...

    def begin_step(self, seen: Mapping[str, float]) -> None:
        """seen: the means of what look_ahead gave, over the whole step that comes now."""
        ...

    def finish_metrics(self, means: Mapping[str, float]) -> dict[str, float]:
        """The metrics as they are logged, given their means: the place for those that are made of other means."""
        ...

    def state(self) -> dict[str, float]:
        """What the next step depends on besides weights and data; saved with checkpoints."""
        ...

    def restore(self, state: Mapping[str, float]) -> None:
        """The inverse of state."""
        ...


class StageDefaults:
    """What most stages are: the loss of a micro-batch depends on nothing outside it."""

    goal = "loss"
    needs_reference = False
    needs_head = False
    looks_ahead = False

    def look_ahead(self, scorer: Scorer, batch: Batch) -> Mapping[str, tuple[Tensor | float, Tensor | float]]:
        return {}

    def begin_step(self, seen: Mapping[str, float]) -> None:
        pass

    def finish_metrics(self, means: Mapping[str, float]) -> dict[str, float]:
        return dict(means)

    def state(self) -> dict[str, float]:
        return {}

    def restore(self, state: Mapping[str, float]) -> None:
        pass
