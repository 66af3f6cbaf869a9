"""Rules on optimizers, schedules and the length of the training."""

from luthier.config.rules.base import Rule, is_set

OPTIMIZER = (
    Rule(
        "one low-memory optimizer",
        ("use_galore", "use_apollo", "use_badam", "use_muon"),
        lambda c: c.use_galore + c.use_apollo + c.use_badam + c.use_muon > 1,
        "keep one of use_galore, use_apollo, use_badam and use_muon.",
    ),
    Rule(
        "low-memory optimizers are for full tuning",
        ("use_galore", "use_apollo", "use_badam", "finetuning_type"),
        lambda c: c.finetuning_type == "lora" and (c.use_galore or c.use_apollo or c.use_badam),
        "GaLore, APOLLO and BAdam save the memory of full tuning; with lora there is none to save.",
    ),
    Rule(
        "projections are AdamW's",
        ("optim", "use_galore", "use_apollo", "use_badam", "use_muon"),
        lambda c: (
            is_set(c, "optim")
            and not str(c.optim).startswith("adamw_torch")
            and (c.use_galore or c.use_apollo or c.use_badam or c.use_muon)
        ),
        "GaLore, APOLLO, BAdam and Muon bring their own AdamW: take optim out.",
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
