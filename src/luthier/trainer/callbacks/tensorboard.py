"""TensorBoard events: every number of every log point, under train/ and eval/. On unless report_to says otherwise.

What enters: rows of metrics. What leaves: an event file in logging_dir (default: tensorboard/ in the run folder), written with
TensorBoard's own writer, which needs neither TensorFlow nor torch.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from luthier.trainer.callbacks.base import Callback, Progress

if TYPE_CHECKING:
    from luthier.config import Config

NOT_CURVES = ("step", "total_steps", "epoch", "time", "elapsed_s", "remaining_s")


def tag(key: str) -> str:
    """eval_loss -> eval/loss, loss -> train/loss, rewards/margins -> train/rewards/margins"""
    return f"eval/{key.removeprefix('eval_')}" if key.startswith("eval_") else f"train/{key}"


class TensorBoard(Callback):
    """Nothing is imported and no file made before the first row."""

    _writer: Any = None
    _resumed_at = 0

    @classmethod
    def wanted(cls, config: Config) -> bool:
        return "report_to" not in config.model_fields_set or bool({"tensorboard", "all"} & set(config.report_to))

    def on_train_begin(self, progress: Progress) -> None:
        self._resumed_at = progress.step

    def on_log(self, progress: Progress, row: Mapping[str, Any]) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        numbers = {key: value for key, value in row.items() if isinstance(value, int | float) and key not in NOT_CURVES}
        values = [Summary.Value(tag=tag(key), simple_value=value) for key, value in numbers.items()]
        event = Event(wall_time=time.time(), step=row.get("step", progress.step), summary=Summary(value=values))
        self._open().add_event(event)

    def on_save(self, progress: Progress, checkpoint: Path) -> None:
        if self._writer is not None:
            self._writer.flush()

    def on_train_end(self, progress: Progress, summary: Mapping[str, Any]) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _open(self) -> Any:
        if self._writer is None:
            from tensorboard.compat.proto.event_pb2 import Event, SessionLog
            from tensorboard.summary.writer.event_file_writer import EventFileWriter

            folder = Path(self.config.logging_dir) if self.config.logging_dir else self.run.tensorboard_folder
            self._writer = EventFileWriter(str(folder))
            if self._resumed_at:  # tells TensorBoard to forget what a killed run wrote after the checkpoint
                start = SessionLog(status=SessionLog.START)
                self._writer.add_event(Event(wall_time=time.time(), step=self._resumed_at + 1, session_log=start))
        return self._writer
