"""The contract of a training stage: which sample it wants, how that becomes ids and labels, and its loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from luthier.types import Batch, Encoded, LossOutput, Sample

if TYPE_CHECKING:
    from luthier.models.score import Scorer
    from luthier.templates.base import Template


class Stage(Protocol):
    """One stage (pt, sft, dpo ...), made from the config: STAGES[name](config).

    sample: the sample class that the stage learns from.
    unit: what one optimizer step averages over: "token" (supervised tokens) or "sample".
    """

    name: str
    sample: type[Sample]
    unit: str

    def encode(self, samples: Sequence[Sample], template: Template) -> list[list[Encoded]]:
        """Ids and labels of each sample: usually one Encoded, several where it was split, none where nothing is left to learn.

        The caller counts and reports what was cut (Encoded.cut_tokens) and what was left out.
        """
        ...

    def loss(self, scorer: Scorer, batch: Batch) -> LossOutput:
        """The summed loss of one micro-batch, in nats."""
        ...
