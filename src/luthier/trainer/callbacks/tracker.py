"""What W&B, SwanLab and MLflow have in common: numbers of each log point, sent where report_to says.

The libraries are extras, imported at the first row; one that is asked for and missing is an error before anything is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from luthier.errors import ConfigError
from luthier.trainer.callbacks.base import Callback, Progress
from luthier.trainer.callbacks.tensorboard import NOT_CURVES, tag

if TYPE_CHECKING:
    from luthier.config import Config


class Tracker(Callback):
    """A subclass names its library and says how to begin, send and end."""

    library: str
    _opened = False

    @classmethod
    def wanted(cls, config: Config) -> bool:
        """Raises ConfigError where the library is asked for by name and not installed."""
        if cls.named(config):
            if find_spec(cls.library) is None:
                raise ConfigError(
                    f"report_to: {cls.library} needs the {cls.library} package, which is not installed.",
                    f"pip install {cls.library}",
                )
            return True
        return "all" in config.report_to and find_spec(cls.library) is not None

    @classmethod
    def named(cls, config: Config) -> bool:
        return cls.library in config.report_to

    def on_log(self, progress: Progress, row: Mapping[str, Any]) -> None:
        if not self._opened:
            self.begin(self.config.run_name or self.run.folder.name, self.config.to_dict())
            self._opened = True
        numbers = {tag(key): value for key, value in row.items() if _is_number(value) and key not in NOT_CURVES}
        self.send(numbers, int(row.get("step", progress.step)))

    def on_train_end(self, progress: Progress, summary: Mapping[str, Any]) -> None:
        if self._opened:
            self.end(failed=summary.get("state") == "failed")
            self._opened = False

    def begin(self, name: str, settings: Mapping[str, Any]) -> None:
        """settings: what the user set, without secrets."""
        raise NotImplementedError

    def send(self, numbers: Mapping[str, float], step: int) -> None:
        raise NotImplementedError

    def end(self, *, failed: bool) -> None:
        raise NotImplementedError


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
