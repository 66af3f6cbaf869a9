"""Config: every key of Luthier in one flat frozen object.

Enters: typed values (load.py reads files and flags).  Leaves: an object that all parts read.
Never reads a file, never looks at the machine.
"""

from collections.abc import Iterator
from typing import Any

from pydantic import SecretStr

from luthier.config.dump import dump_yaml
from luthier.config.keys.data import DataKeys
from luthier.config.keys.distributed import DistributedKeys
from luthier.config.keys.evaluation import EvaluationKeys
from luthier.config.keys.export import ExportKeys
from luthier.config.keys.generation import GenerationKeys
from luthier.config.keys.logging import LoggingKeys
from luthier.config.keys.model import ModelKeys
from luthier.config.keys.multimodal import MultimodalKeys
from luthier.config.keys.optimizer import OptimizerKeys
from luthier.config.keys.preference import PreferenceKeys
from luthier.config.keys.quantization import QuantizationKeys
from luthier.config.keys.saving import SavingKeys
from luthier.config.keys.serving import ServingKeys
from luthier.config.keys.template import TemplateKeys
from luthier.config.keys.training import TrainingKeys
from luthier.config.keys.tuning import TuningKeys
from luthier.config.values import kind_of

GROUPS = (
    ModelKeys,
    QuantizationKeys,
    DataKeys,
    TemplateKeys,
    TuningKeys,
    TrainingKeys,
    OptimizerKeys,
    EvaluationKeys,
    LoggingKeys,
    SavingKeys,
    PreferenceKeys,
    GenerationKeys,
    ExportKeys,
    ServingKeys,
    DistributedKeys,
    MultimodalKeys,
)
"""The groups in the order in which they are shown."""


class Config(*reversed(GROUPS)):
    """The whole configuration. `config.model_fields_set` holds the keys that the user set."""

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """Only what the user set: four hundred defaults help nobody."""
        return ((key, getattr(self, key)) for key in type(self).model_fields if key in self.model_fields_set)

    def to_dict(self, *, explicit_only: bool = True) -> dict[str, Any]:
        """Plain values that load_config reads back. Secrets (tokens, passwords) are left out.

        explicit_only: only what was set by the user; otherwise every key with its default.
        """
        secrets = {key for key in type(self).model_fields if kind_of(type(self), key).is_secret}
        return self.model_dump(exclude=secrets, exclude_unset=explicit_only)

    def to_yaml(self, *, explicit_only: bool = True) -> str:
        """to_dict as a YAML file."""
        return dump_yaml(self.to_dict(explicit_only=explicit_only))

    def secret(self, key: str) -> str | None:
        """The plain text of a secret key, for the one place that sends it."""
        value: SecretStr | None = getattr(self, key)
        return value.get_secret_value() if value else None


def groups() -> dict[str, type]:
    """Group name ("model", "data" ...) -> its class, in the order in which they are shown."""
    return {group.__name__.removesuffix("Keys").lower(): group for group in GROUPS}
