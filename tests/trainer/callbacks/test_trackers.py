"""W&B, SwanLab and MLflow with stand-ins for their libraries: what they are sent, and what is said where they are missing."""

import importlib.util
import sys
from types import SimpleNamespace

import pytest

from luthier.config import Config
from luthier.errors import ConfigError
from luthier.trainer.callbacks import CALLBACKS, Progress, make_callbacks

NAMES = ["wandb", "swanlab", "mlflow"]


def stand_in(name: str, calls: list) -> SimpleNamespace:
    """A library of that name that notes every call."""

    def noting(what):
        return lambda *args, **keys: calls.append((what, args, keys))

    run = SimpleNamespace(log=noting("log"), finish=noting("finish"))

    def init(**keys):
        calls.append(("init", (), keys))
        return run

    others = {key: noting(key) for key in ("start_run", "log_params", "log_metrics", "end_run", "login")}
    return SimpleNamespace(init=init, __spec__=importlib.util.spec_from_loader(name, None), **others)


@pytest.fixture
def calls(monkeypatch) -> list:
    calls: list = []
    for name in NAMES:
        monkeypatch.setitem(sys.modules, name, stand_in(name, calls))
    return calls


@pytest.mark.parametrize("name", NAMES)
def test_numbers_settings_and_the_end_are_sent(name, config, run, calls):
    tracker = CALLBACKS[name](config, run)
    tracker.on_train_begin(Progress())
    assert not calls
    tracker.on_log(Progress(step=3), {"step": 3, "loss": 1.5, "epoch": 0.1, "note": "text"})
    tracker.on_log(Progress(step=4), {"step": 4, "eval_loss": 2.0})
    tracker.on_train_end(Progress(), {"state": "finished"})
    sent = [(args[0], keys["step"]) for what, args, keys in calls if what in ("log", "log_metrics")]
    assert sent == [({"train/loss": 1.5}, 3), ({"eval/loss": 2.0}, 4)]
    assert calls[-1][0] in ("finish", "end_run")
    assert "learning_rate" in str(calls)


def test_secrets_go_to_the_login_alone(run, calls):
    config = Config(use_swanlab=True, swanlab_api_key="hidden", swanlab_project="p", run_name="r")
    (tracker,) = [callback for callback in make_callbacks(config, run) if type(callback).__name__ == "SwanLab"]
    tracker.on_log(Progress(step=1), {"step": 1, "loss": 1.0})
    assert calls[0] == ("login", (), {"api_key": "hidden"})
    assert calls[1][2]["project"] == "p" and calls[1][2]["experiment_name"] == "r"
    assert "hidden" not in str(calls[1:])


@pytest.mark.parametrize("name", NAMES)
def test_one_that_is_not_installed_is_named_before_the_training(name, run, monkeypatch):
    monkeypatch.setattr("luthier.trainer.callbacks.tracker.find_spec", lambda library: None)
    with pytest.raises(ConfigError, match=f"needs the {name} package") as caught:
        make_callbacks(Config(report_to=[name]), run)
    assert f"pip install {name}" in str(caught.value)
    make_callbacks(Config(report_to=["all"]), run)
