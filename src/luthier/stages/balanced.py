"""A stage whose loss also keeps the experts of a mixture evenly used (Fedus et al. 2021, arXiv:2101.03961, eqs. 4 to 6).

Over all real tokens and all layers of one optimizer step, as transformers has it: E sum_e f_e P_e, with f_e the mean number of
times that a token goes to expert e, and P_e the mean probability that the routers give it. f has no gradient and is counted
ahead, in a pass of its own; with f known the loss is a sum over tokens, so neither micro-batches nor devices change it.
Evaluation is the stage's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from luthier.errors import ModelError
from luthier.types import Batch, LossOutput

if TYPE_CHECKING:
    from luthier.models.score import Scorer
    from luthier.stages.base import Stage

BALANCED = ("pt", "sft")
"""The stages whose loss may have this part: those that learn by the model's own loss, a mean over tokens."""


class Balanced:
    """stage with coefficient times the balance added to its mean loss. Everything else is the stage's own."""

    looks_ahead = True

    def __init__(self, stage: Stage, coefficient: float):
        self._stage, self._coefficient = stage, coefficient
        self._seen: Mapping[str, float] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stage, name)

    def look_ahead(self, scorer: Scorer, batch: Batch) -> Mapping[str, tuple[float, float]]:
        """How many tokens are learned, and each expert's assignments, for each token and layer."""
        if not scorer.training:
            return {}
        with scorer.listening() as logits:
            scorer.hidden(batch)
        if not logits:
            raise ModelError("moe_aux_loss_coef: none of this model's layers has a router.", "Take moe_aux_loss_coef out.")
        chosen = torch.cat([layer_TE.topk(scorer.experts_per_token).indices.flatten() for layer_TE in logits])
        counts_E = chosen.bincount(minlength=logits[0].shape[1]).tolist()
        rows = float(batch.num_tokens * len(logits))
        told = {f"expert {number}": (float(count), rows) for number, count in enumerate(counts_E)}
        return told | {"learned": (float(len(batch.targets)), float(batch.num_tokens))}

    def begin_step(self, seen: Mapping[str, float]) -> None:
        self._seen = seen

    def loss(self, scorer: Scorer, batch: Batch) -> LossOutput:
        if not scorer.training:
            return self._stage.loss(scorer, batch)
        with scorer.listening() as logits:
            output = self._stage.loss(scorer, batch)
        balance = self._balance(logits)
        return LossOutput(
            total=output.total + self._coefficient * self._seen["learned"] * balance,  # the trainer divides by learned tokens
            metrics={**output.metrics, "moe_aux_loss": (balance.detach(), float(batch.num_tokens))},
        )

    def _balance(self, logits: list[Tensor]) -> Tensor:
        """The batch's part, shape (): its sum over the tokens of a step, divided by their number, is E sum_e f_e P_e."""
        experts = logits[0].shape[1]
        fractions_E = logits[0].new_tensor([self._seen[f"expert {e}"] for e in range(experts)], dtype=torch.float32)
        parts = [(layer_TE.float().softmax(1) @ fractions_E).sum() for layer_TE in logits]
        return experts * torch.stack(parts).mean()
