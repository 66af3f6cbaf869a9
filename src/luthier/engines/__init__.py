"""Text generation: one contract (base), one member for local transformers models (hf)."""

from luthier.registry import Registry

ENGINES = Registry("engine", {"hf": "luthier.engines.hf:HFEngine", "huggingface": "luthier.engines.hf:HFEngine"})
