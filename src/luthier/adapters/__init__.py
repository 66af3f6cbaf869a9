"""The table of fine-tuning methods: finetuning_type -> Adapter (adapters/base.py)."""

from luthier.registry import Registry

ADAPTERS = Registry(
    "finetuning_type",
    {
        "full": "luthier.adapters.full:Full",
        "freeze": "luthier.adapters.freeze:Freeze",
        "lora": "luthier.adapters.lora:Lora",
        "oft": "luthier.adapters.oft:Oft",
    },
)
