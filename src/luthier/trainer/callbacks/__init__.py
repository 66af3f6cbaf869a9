"""Callbacks: what happens beside a training at its named moments. One file each, one line of CALLBACKS each.

The order of the table is the order of the calls: the progress bar leaves the terminal before anything is said at the end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from luthier.registry import Registry
from luthier.trainer.callbacks.base import Callback, Progress

if TYPE_CHECKING:
    from luthier.config import Config
    from luthier.runs import Run

CALLBACKS = Registry(
    "callback",
    {
        "progress_bar": "luthier.trainer.callbacks.progress_bar:ProgressBar",
        "tensorboard": "luthier.trainer.callbacks.tensorboard:TensorBoard",
        "wandb": "luthier.trainer.callbacks.wandb:WeightsAndBiases",
        "swanlab": "luthier.trainer.callbacks.swanlab:SwanLab",
        "mlflow": "luthier.trainer.callbacks.mlflow:MLflow",
        "plot": "luthier.trainer.callbacks.plot:Plot",
        "reading": "luthier.trainer.callbacks.reading:CurveReading",
        "model_card": "luthier.trainer.callbacks.model_card:ModelCard",
    },
)

__all__ = ["CALLBACKS", "Callback", "Progress", "make_callbacks"]


def make_callbacks(config: Config, run: Run) -> list[Callback]:
    """The callbacks that the configuration asks for, in the order of the table."""
    return [member(config, run) for member in CALLBACKS.values() if member.wanted(config)]
