"""After a training: what its loss curve says, in words, on the terminal and in the run's reading.md."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from luthier.runtime.files import write_atomic
from luthier.trainer.callbacks.base import Callback, Progress
from luthier.trainer.diagnose import read_curve
from luthier.trainer.reading import Reading
from luthier.trainer.rewards import read_rewards

if TYPE_CHECKING:
    from luthier.config import Config

log = logging.getLogger(__name__)

NOT_A_NUMBER = re.compile(r"\b(loss|gradient) is (nan|-?inf)", re.IGNORECASE)
"""How the trainer says why it stopped; the row with that loss is never written."""


class CurveReading(Callback):
    """Also after a failure: a curve that blew up is worth reading."""

    def on_train_end(self, progress: Progress, summary: Mapping[str, Any]) -> None:
        rows = self.run.read_metrics()
        rewarded = any("reward" in row for row in rows)
        reading = read_rewards(rows) if rewarded else read_curve(rows, facts(self.config, progress, summary))
        write_atomic(self.run.curve_reading, as_markdown(reading))
        for each in (reading, *reading.also):
            log.info("The curve (%s): %s\n  %s", each.rule, each.en, each.zh)


def facts(config: Config, progress: Progress, summary: Mapping[str, Any]) -> dict[str, Any]:
    """What read_curve may want to know beside the rows."""
    length = {"max_steps": config.max_steps} if config.max_steps > 0 else {"num_train_epochs": config.num_train_epochs}
    return length | {
        "learning_rate": config.learning_rate,
        "total_steps": progress.total_steps,
        "loss_is_nan": bool(NOT_A_NUMBER.search(str(summary.get("reason") or ""))),
    }


def as_markdown(reading: Reading) -> str:
    """Both languages and the numbers behind them."""
    parts = []
    for each in (reading, *reading.also):
        numbers = "\n".join(f"| {name} | {value:.6g} |" for name, value in each.numbers.items())
        parts.append(f"## {each.rule}\n\n{each.en}\n\n{each.zh}\n\n| number | value |\n|---|---|\n{numbers}\n")
    return "# What the loss curve says\n\n" + "\n".join(parts)
