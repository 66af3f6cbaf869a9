"""Text generation: one contract (base), for local transformers models (hf) and for servers elsewhere (openai)."""

from luthier.registry import Registry

ENGINES = Registry(
    "engine",
    {
        "hf": "luthier.engines.hf:HFEngine",
        "huggingface": "luthier.engines.hf:HFEngine",
        "openai": "luthier.engines.openai:OpenAIEngine",
    },
)
