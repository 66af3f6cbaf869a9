"""The configuration: one flat, typed, frozen object from YAML, JSON, flags, `key=value` pairs or a dict. Imports no torch."""

from luthier.config.dump import dump_yaml
from luthier.config.load import load_config
from luthier.config.schema import Config

__all__ = ["Config", "dump_yaml", "load_config"]
