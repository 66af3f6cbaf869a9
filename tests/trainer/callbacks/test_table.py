"""Every callback of the table."""

import subprocess
import sys

import pytest

from luthier.config import Config
from luthier.runs import Run
from luthier.trainer.callbacks import CALLBACKS, Callback, Progress, make_callbacks
from tests.trainer.callbacks.test_trackers import NAMES, calls  # noqa: F401

HOOKS = [name for name in vars(Callback) if name.startswith("on_")]


@pytest.mark.usefixtures("calls")  # the trackers' libraries are stand-ins
@pytest.mark.parametrize("name", CALLBACKS)
def test_a_whole_training_passes_through(name: str, config: Config, run: Run) -> None:
    """Begin, step, log, evaluate, save, end, in the order of the loop; also for a training that fails before its first row."""
    member = CALLBACKS[name]
    assert issubclass(member, Callback) and member.__doc__
    progress = Progress(total_steps=2)
    callback = member(config, run)
    callback.on_train_begin(progress)
    callback.on_train_end(progress, {"state": "failed", "reason": "test"})
    callback = member(config, run)
    callback.on_train_begin(progress)
    for step in (1, 2):
        progress.step = step
        row = {"step": step, "loss": 1.0, "learning_rate": 1e-4, "tokens_per_second": 10.0}
        callback.on_step_end(progress, row)
        run.append_metrics(row)
        callback.on_log(progress, row)
    callback.on_evaluate_begin(progress, 1)
    callback.on_evaluate_step(progress, 1)
    callback.on_evaluate_end(progress, {"eval_loss": 1.0})
    callback.on_log(progress, {"step": 2, "eval_loss": 1.0})
    callback.on_save(progress, run.checkpoint(2))
    callback.on_train_end(progress, {"state": "finished", "train_loss": 1.0})


def test_the_configuration_chooses(run: Run) -> None:
    def names(**settings) -> set[str]:
        made = {type(callback) for callback in make_callbacks(Config(**settings), run)}
        return {name for name, member in CALLBACKS.items() if member in made}

    unasked = set(NAMES)
    assert names() == set(CALLBACKS) - unasked
    assert set(CALLBACKS) - names(report_to=["none"]) == {"tensorboard"} | unasked
    assert "tensorboard" in names(report_to=["tensorboard"]) and "tensorboard" in names(report_to=["all"])
    assert set(CALLBACKS) - names(plot_loss=False) == {"plot"} | unasked


def test_callbacks_are_made_without_heavy_imports() -> None:
    code = (
        "import sys; from luthier.trainer.callbacks import CALLBACKS; list(CALLBACKS.values())\n"
        "heavy = {'torch', 'matplotlib', 'tensorboard'} & set(sys.modules); assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
