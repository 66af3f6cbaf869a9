"""Rules on optimizers, schedules and the length of the training."""

from luthier.config.rules.base import Rule, is_set

LOW_MEMORY = ("use_galore", "use_apollo", "use_badam", "use_muon", "use_adam_mini")
IN_8_BITS = ("adamw_bnb_8bit", "adamw_8bit", "paged_adamw_8bit")

OPTIMIZER = (
    Rule(
        "one low-memory optimizer",
        LOW_MEMORY,
        lambda c: sum(bool(getattr(c, key)) for key in LOW_MEMORY) > 1,
        "keep one of use_galore, use_apollo, use_badam, use_muon and use_adam_mini.",
    ),
    Rule(
        "low-memory optimizers are for full tuning",
        ("use_galore", "use_apollo", "use_badam", "finetuning_type"),
        lambda c: c.finetuning_type in ("lora", "oft") and (c.use_galore or c.use_apollo or c.use_badam),
        "GaLore, APOLLO and BAdam save the memory of full tuning; with an adapter there is none to save.",
    ),
    Rule(
        "projections are AdamW's",
        ("optim", *LOW_MEMORY),
        lambda c: (
            is_set(c, "optim")
            and any(getattr(c, key) for key in LOW_MEMORY)
            and c.optim not in ("adamw_torch", "adamw_torch_fused")
            and not (c.use_galore and c.optim in (*IN_8_BITS, "adafactor"))
        ),
        "GaLore, APOLLO, BAdam, Muon and Adam-mini bring their own AdamW: take optim out "
        "(GaLore works with adamw_8bit and adafactor too).",
    ),
    Rule(
        "options of an optimizer by name",
        ("optim_args", *LOW_MEMORY),
        lambda c: bool(c.optim_args) and any(getattr(c, key) for key in LOW_MEMORY),
        "optim_args is for an optimizer chosen by optim; those of use_galore and its kin have keys of their own.",
    ),
    Rule(
        "projected names have targets",
        ("optim_target_modules", "optim"),
        lambda c: bool(c.optim_target_modules) and not str(c.optim).startswith(("galore", "apollo")),
        "optim_target_modules belongs to optim: galore_adamw, apollo_adamw and their kin (galore_target to use_galore).",
    ),
    Rule(
        "projected names are for full tuning",
        ("optim", "finetuning_type"),
        lambda c: c.finetuning_type in ("lora", "oft") and str(c.optim).startswith(("galore", "apollo")),
        "GaLore and APOLLO save the memory of full tuning; with an adapter there is none to save.",
    ),
    Rule(
        "gradients that are gone cannot be scaled",
        ("fp16", "galore_layerwise", "apollo_layerwise", "optim"),
        lambda c: (
            c.fp16
            and (
                (c.use_galore and c.galore_layerwise)
                or (c.use_apollo and c.apollo_layerwise)
                or str(c.optim).endswith("_layerwise")
                or c.optim in ("lomo", "adalomo")
            )
        ),
        "weights that move as gradients come cannot wait for fp16's loss scale: use bf16 or pure_bf16.",
    ),
    Rule(
        "schedule-free has no schedule",
        ("optim", "lr_scheduler_type"),
        lambda c: str(c.optim).startswith("schedule_free") and c.lr_scheduler_type not in ("constant", "constant_with_warmup"),
        "a schedule-free optimizer averages instead of lowering its rate: set lr_scheduler_type: constant.",
        warns=True,
    ),
    Rule(
        "a plateau is seen in an evaluation",
        ("lr_scheduler_type", "eval_strategy"),
        lambda c: c.do_train and c.lr_scheduler_type == "reduce_lr_on_plateau" and c.eval_strategy == "no",
        "reduce_lr_on_plateau follows eval_loss: set eval_strategy: steps or epoch.",
    ),
    Rule(
        "one warm-up",
        ("warmup_steps", "warmup_ratio"),
        lambda c: c.warmup_steps > 0 and c.warmup_ratio > 0,
        "warmup_steps and warmup_ratio are both set: warmup_steps is used.",
        warns=True,
    ),
    Rule(
        "one length of training",
        ("max_steps", "num_train_epochs"),
        lambda c: c.max_steps > 0 and is_set(c, "num_train_epochs"),
        "max_steps and num_train_epochs are both set: max_steps is used.",
        warns=True,
    ),
)
