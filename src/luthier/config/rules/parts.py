"""Rules on models that lie in parts on several devices (fsdp, deepspeed)."""

from luthier.config.rules.base import Rule
from luthier.config.sharding import is_sharded

IN_PARTS = ("adamw_torch", "adamw_torch_fused", "adamw_hf", "sgd", "adagrad", "rmsprop")
"""Optimizers that treat each number by itself, so that a part of a matrix is enough for them."""

OF_MATRICES = ("use_galore", "use_apollo", "use_badam", "use_muon", "use_adam_mini")

WHOLE = (
    (
        "a stage that draws answers",
        "stage",
        lambda c: c.stage in ("ppo", "grpo"),
        "answers cannot be drawn from a model in parts",
    ),
    ("PiSSA", "pissa_init", lambda c: c.pissa_init, "pissa_init needs whole weights: use plain LoRA"),
    (
        "an optimizer of matrices",
        "optim",
        lambda c: str(c.optim) not in IN_PARTS or any(getattr(c, key) for key in OF_MATRICES),
        f"this optimizer needs whole matrices: use one of {', '.join(IN_PARTS)}",
    ),
)
"""(what, key, whether config asks for it, why it needs a whole model)"""

PARTS = tuple(
    Rule(
        f"{name} is not cut",
        (key, "fsdp", "fsdp_config", "deepspeed"),
        lambda c, asks=asks: is_sharded(c) and asks(c),
        f"{reason}. (fsdp and deepspeed keep one part of every weight on each device.)",
    )
    for name, key, asks, reason in WHOLE
)
