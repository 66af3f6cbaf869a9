"""The table of features that are not built: it is true to Config, refuses what needs them, lets the rest pass."""

import pytest

from luthier.config import Config, load_config
from luthier.config.later import is_built
from luthier.config.tables import read_table
from luthier.errors import ConfigError

TABLE = read_table("later")


@pytest.mark.parametrize("key", TABLE)
def test_row(key: str):
    assert set(TABLE[key]) <= {"feature", "allowed", "reasons"}
    assert not set(TABLE[key].get("reasons", ())) & set(TABLE[key].get("allowed", ()))
    assert key in Config.model_fields
    default = Config.model_fields[key].default
    assert load_config({key: default}).to_dict().get(key) == default
    for value in TABLE[key].get("allowed", ()):
        read = getattr(Config(**{key: value}), key)
        assert is_built(key, read)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"fp8": True}, "fp8: True is not built yet: FP8 training. Take the key out."),
        (
            {"report_to": "tensorboard,comet_ml"},
            'report_to: "tensorboard,comet_ml" is not built yet: this tracker. '
            "Built: none, all, tensorboard, wandb, swanlab, mlflow.",
        ),
    ],
)
def test_refused(settings: dict, complaint: str):
    with pytest.raises(ConfigError) as caught:
        load_config(settings)
    assert str(caught.value) == complaint


def test_a_value_may_have_a_reason_of_its_own():
    with pytest.raises(ConfigError, match='optim: "adamw_torch_xla" is not built yet: the optimizer of TPUs'):
        load_config({"optim": "adamw_torch_xla"})
