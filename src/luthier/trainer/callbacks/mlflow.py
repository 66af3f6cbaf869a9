"""MLflow: report_to: mlflow. Where it sends to is the library's own affair (MLFLOW_TRACKING_URI)."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from luthier.trainer.callbacks.tracker import Tracker

LONGEST_VALUE = 500
"""Characters of a parameter that every MLflow store takes."""


class MLflow(Tracker):
    """One MLflow run a training."""

    library = "mlflow"

    def begin(self, name: str, settings: Mapping[str, Any]) -> None:
        self._mlflow = importlib.import_module("mlflow")
        self._mlflow.start_run(run_name=name)
        self._mlflow.log_params({key: str(value)[:LONGEST_VALUE] for key, value in settings.items()})

    def send(self, numbers: Mapping[str, float], step: int) -> None:
        self._mlflow.log_metrics({key.replace("@", "_"): float(value) for key, value in numbers.items()}, step=step)

    def end(self, *, failed: bool) -> None:
        self._mlflow.end_run("FAILED" if failed else "FINISHED")
