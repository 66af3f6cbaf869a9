"""The configuration: one flat, typed, frozen object from YAML, JSON, flags, `key=value` pairs or a dict. Imports no torch."""

from luthier.config.load import load_config
from luthier.config.schema import Config

__all__ = ["Config", "load_config"]
