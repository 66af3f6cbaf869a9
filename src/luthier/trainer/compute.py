"""What goes through the model for one micro-batch, as one forward pass of one module.

Whoever gathers weights for a pass (trainer/sharding.py) sees one beginning and one end, however often a stage asks the model in
between: for the answers, for the reference, for the value head.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor, nn

if TYPE_CHECKING:
    from luthier.models.score import Scorer
    from luthier.stages.base import Stage
    from luthier.types import Batch

Sums = Mapping[str, tuple[Tensor | float, Tensor | float]]
"""name -> (sum, count)"""


class Compute(nn.Module):
    """stage.loss, or with ahead=True stage.look_ahead, of scorer."""

    def __init__(self, stage: Stage, scorer: Scorer):
        super().__init__()
        self.stage, self.scorer = stage, scorer
        self.second = getattr(scorer.reference, "scorer", None)  # a reference model of its own, if there is one

    def forward(self, batch: Batch, *, ahead: bool = False) -> tuple[Tensor | None, Sums]:
        """(summed loss in nats, metrics); with ahead (None, what look_ahead says)."""
        if ahead:
            return None, self.stage.look_ahead(self.scorer, batch)
        output = self.stage.loss(self.scorer, batch)
        return output.total, output.metrics
