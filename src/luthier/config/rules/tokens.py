"""Rules on the losses of single tokens."""

from luthier.config.rules.base import Rule

TOKEN_LOSSES = {
    "use_dft_loss": ("sft",),
    "use_eaft_loss": ("sft",),
    "use_asft_loss": ("sft",),
    "label_smoothing_factor": ("sft", "pt"),
}

TOKENS = (
    Rule(
        "one loss of tokens",
        tuple(TOKEN_LOSSES),
        lambda c: sum(bool(getattr(c, key)) for key in TOKEN_LOSSES) > 1,
        "DFT, EAFT, ASFT and label smoothing weight the same tokens each in its own way: keep one.",
    ),
    *(
        Rule(
            f"{key} is for sft",
            (key, "stage"),
            lambda c, key=key, stages=stages: bool(getattr(c, key)) and c.stage not in stages,
            f"{key} does nothing in this stage: it belongs to {' and '.join(stages)}.",
        )
        for key, stages in TOKEN_LOSSES.items()
    ),
)
