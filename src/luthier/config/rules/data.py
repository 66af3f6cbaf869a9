"""Rules on the samples that are read, and which of their tokens are learned."""

from luthier.config.rules.base import Rule

DATA = (
    Rule(
        "one source of eval data",
        ("val_size", "eval_dataset"),
        lambda c: c.val_size > 0 and bool(c.eval_dataset),
        "val_size and eval_dataset are both set: keep one.",
    ),
    Rule(
        "val_size has something to split",
        ("val_size", "dataset"),
        lambda c: c.val_size > 0 and not c.dataset and c.tokenized_path is None,
        "val_size splits dataset, and no dataset is set.",
    ),
    Rule(
        "val_size is a share or a count",
        ("val_size",),
        lambda c: c.val_size > 1 and not float(c.val_size).is_integer(),
        "val_size is a share below 1 (0.1) or a whole number of samples (100).",
    ),
    Rule(
        "streaming has an end",
        ("streaming", "max_steps"),
        lambda c: c.streaming and c.do_train and c.max_steps < 1,
        "streaming reads without knowing the length: set max_steps.",
    ),
    Rule(
        "streaming has no last batch",
        ("streaming", "dataloader_drop_last"),
        lambda c: c.streaming and c.dataloader_drop_last,
        "streaming knows no end of an epoch that dataloader_drop_last could cut: take it out.",
    ),
    Rule(
        "streaming sets a count aside",
        ("streaming", "val_size"),
        lambda c: c.streaming and 0 < c.val_size < 1,
        "with streaming, val_size is a number of samples, not a share.",
    ),
    Rule(
        "streaming has no max_samples",
        ("streaming", "max_samples"),
        lambda c: c.streaming and c.max_samples is not None,
        "with streaming, limit the training by max_steps instead of max_samples.",
    ),
    Rule(
        "probabilities are for interleaving",
        ("interleave_probs", "mix_strategy"),
        lambda c: bool(c.interleave_probs) and c.mix_strategy == "concat",
        "interleave_probs needs mix_strategy interleave_under, interleave_over or interleave_once.",
    ),
    Rule(
        "one probability a dataset",
        ("interleave_probs", "dataset"),
        lambda c: bool(c.interleave_probs and c.dataset) and len(c.interleave_probs or ()) != len(c.dataset or ()),
        "interleave_probs must have one number for each dataset.",
    ),
    Rule(
        "probabilities are not negative",
        ("interleave_probs",),
        lambda c: bool(c.interleave_probs) and (min(c.interleave_probs or [0]) < 0 or sum(c.interleave_probs or [0]) <= 0),
        "interleave_probs must be 0 or more, and not all 0.",
    ),
    Rule(
        "what is learned",
        ("mask_history", "train_on_prompt"),
        lambda c: c.mask_history and c.train_on_prompt,
        "mask_history learns less than every answer, train_on_prompt more: keep one.",
    ),
    Rule(
        "masks are for sft",
        ("train_on_prompt", "mask_history", "stage"),
        lambda c: c.stage != "sft" and (c.train_on_prompt or c.mask_history),
        "train_on_prompt and mask_history belong to stage sft.",
    ),
    Rule(
        "neat packing packs",
        ("packing", "neat_packing"),
        lambda c: c.neat_packing and c.packing is False,
        "neat_packing packs, and packing is false: keep one.",
    ),
    Rule(
        "pairs are packed anyway",
        ("packing", "neat_packing", "stage"),
        lambda c: c.stage not in ("pt", "sft") and bool(c.packing or c.neat_packing),
        "packing does nothing in this stage: its samples are laid end to end without padding anyway.",
        warns=True,
    ),
)
