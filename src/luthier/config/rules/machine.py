"""Rules on precision, memory and engine."""

from luthier.config.rules.base import Rule

COMPILING = ("torch_compile", "torch_compile_backend", "torch_compile_mode")
"""Keys each of which compiles the layers."""

MACHINE = (
    Rule(
        "modes are inductor's",
        ("torch_compile_mode", "torch_compile_backend"),
        lambda c: bool(c.torch_compile_mode) and c.torch_compile_backend not in (None, "inductor"),
        "only inductor has modes: take torch_compile_mode or torch_compile_backend out.",
    ),
    Rule(
        "layers that learn are compiled",
        (*COMPILING, "do_train"),
        lambda c: (c.do_predict or c.do_eval) and not c.do_train and any(getattr(c, key) for key in COMPILING),
        "torch_compile does its work in trainings: here it changes nothing.",
        warns=True,
    ),
    Rule(
        "layers that draw answers are not compiled",
        (*COMPILING, "stage"),
        lambda c: c.do_train and c.stage in ("ppo", "grpo") and any(getattr(c, key) for key in COMPILING),
        "in this stage the layers also draw answers, token by token over a cache, which would be compiled again and again: "
        "take torch_compile out.",
    ),
    Rule(
        "one precision",
        ("fp16", "bf16", "pure_bf16"),
        lambda c: c.fp16 and (c.bf16 or c.pure_bf16),
        "fp16 and bf16 are both set: keep bf16 where the device can do it.",
    ),
    Rule(
        "one precision below fp8",
        ("fp8", "quantization_bit"),
        lambda c: c.fp8 and c.quantization_bit is not None,
        "fp8 and a quantised base are two ways of computing the same layers: keep one.",
    ),
    Rule(
        "checkpointing is on or off",
        ("gradient_checkpointing", "disable_gradient_checkpointing"),
        lambda c: c.disable_gradient_checkpointing and c.gradient_checkpointing == "on",
        "gradient_checkpointing is on and disabled: keep one.",
    ),
    Rule(
        "training uses torch",
        ("infer_backend",),
        lambda c: c.infer_backend != "huggingface" and (c.do_train or c.do_eval),
        "this engine generates only; training and evaluation use huggingface.",
    ),
)
