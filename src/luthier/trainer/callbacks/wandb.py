"""Weights & Biases: report_to: wandb. Its key and project are read by the library itself (WANDB_API_KEY, WANDB_PROJECT)."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from luthier.trainer.callbacks.tracker import Tracker


class WeightsAndBiases(Tracker):
    """One W&B run a training; local files go to the run folder."""

    library = "wandb"

    def begin(self, name: str, settings: Mapping[str, Any]) -> None:
        self._run = importlib.import_module("wandb").init(name=name, config=dict(settings), dir=str(self.run.folder))

    def send(self, numbers: Mapping[str, float], step: int) -> None:
        self._run.log(dict(numbers), step=step)

    def end(self, *, failed: bool) -> None:
        self._run.finish(exit_code=int(failed))
