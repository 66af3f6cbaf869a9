"""SwanLab: report_to: swanlab, or use_swanlab with the swanlab_* keys."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from luthier.trainer.callbacks.tracker import Tracker

if TYPE_CHECKING:
    from luthier.config import Config


class SwanLab(Tracker):
    """One SwanLab experiment a training."""

    library = "swanlab"

    @classmethod
    def named(cls, config: Config) -> bool:
        return config.use_swanlab or super().named(config)

    def begin(self, name: str, settings: Mapping[str, Any]) -> None:
        config = self.config
        swanlab = importlib.import_module("swanlab")
        if key := config.secret("swanlab_api_key"):
            swanlab.login(api_key=key)
        self._run = swanlab.init(
            project=config.swanlab_project,
            workspace=config.swanlab_workspace,
            experiment_name=config.swanlab_run_name or name,
            config=dict(settings),
            mode=config.swanlab_mode,
            logdir=config.swanlab_logdir,
        )

    def send(self, numbers: Mapping[str, float], step: int) -> None:
        self._run.log(dict(numbers), step=step)

    def end(self, *, failed: bool) -> None:
        self._run.finish()
