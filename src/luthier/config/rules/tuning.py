"""Rules on what learns: adapters, frozen layers, quantised bases, new tokens."""

from luthier.config.rules.base import Rule, is_set

LORA_ONLY = ("loraplus_lr_ratio", "use_rslora", "use_dora", "pissa_init")
LORA_SIZES = ("lora_rank", "lora_alpha", "lora_dropout", "lora_target", "create_new_adapter")

TUNING = (
    Rule(
        "adapters are for lora and oft",
        ("adapter_name_or_path", "finetuning_type"),
        lambda c: bool(c.adapter_name_or_path) and c.finetuning_type not in ("lora", "oft"),
        "adapter_name_or_path needs finetuning_type: lora (merge the adapter first to go on with full or freeze).",
    ),
    *(
        Rule(
            f"{key} is for lora",
            (key, "finetuning_type"),
            lambda c, key=key: c.finetuning_type != "lora" and bool(getattr(c, key)),
            f"{key} needs finetuning_type: lora.",
        )
        for key in LORA_ONLY
    ),
    *(
        Rule(
            f"{key} is for adapters",
            (key, "finetuning_type"),
            lambda c, key=key: c.finetuning_type in ("full", "freeze") and is_set(c, key),
            f"{key} does nothing with this finetuning_type: no adapter is trained.",
            warns=True,
        )
        for key in LORA_SIZES
    ),
    Rule(
        "nothing is trained",
        ("freeze_trainable_layers", "freeze_extra_modules"),
        lambda c: c.do_train and c.finetuning_type == "freeze" and not c.freeze_trainable_layers and not c.freeze_extra_modules,
        "freeze_trainable_layers: 0 trains nothing; give a number of layers, negative for the first ones.",
    ),
    Rule(
        "random weights have no bits to spare",
        ("train_from_scratch", "quantization_bit"),
        lambda c: c.train_from_scratch and c.quantization_bit is not None,
        "train_from_scratch has no weights to quantise.",
    ),
    Rule(
        "random weights and an adapter",
        ("train_from_scratch", "finetuning_type"),
        lambda c: c.do_train and c.train_from_scratch and c.finetuning_type != "full",
        "train_from_scratch with this finetuning_type leaves most of the model random; finetuning_type: full trains all.",
        warns=True,
    ),
    Rule(
        "quantised bases learn by adapters",
        ("quantization_bit", "finetuning_type"),
        lambda c: c.do_train and c.quantization_bit is not None and c.finetuning_type not in ("lora", "oft"),
        "a quantised base cannot be trained itself: set finetuning_type: lora.",
    ),
    Rule(
        "adapters are merged into full weights",
        ("quantization_bit", "export_dir"),
        lambda c: c.quantization_bit is not None and c.export_dir is not None,
        "an adapter is merged into the full-precision base: take quantization_bit out of the export.",
    ),
    Rule(
        "quantised bases take one adapter",
        ("quantization_bit", "adapter_name_or_path"),
        lambda c: c.quantization_bit is not None and len(c.adapter_name_or_path or ()) > 1,
        "several adapters cannot be merged into a quantised base: merge them first.",
    ),
    Rule(
        "quantised bases keep their vocabulary",
        ("quantization_bit", "resize_vocab"),
        lambda c: c.quantization_bit is not None and c.resize_vocab,
        "the vocabulary of a quantised base cannot be resized.",
    ),
    Rule(
        "quantised training is on one device map",
        ("quantization_device_map", "do_train"),
        lambda c: c.do_train and c.quantization_device_map == "auto",
        "quantization_device_map: auto is for inference only.",
    ),
    Rule(
        "new tokens are learned",
        ("add_tokens", "add_special_tokens", "new_special_tokens_config", "freeze_extra_modules"),
        lambda c: (
            c.finetuning_type == "freeze"
            and bool(c.add_tokens or c.add_special_tokens or c.new_special_tokens_config)
            and not c.freeze_extra_modules
        ),
        "new tokens have random embeddings, which stay frozen here: set freeze_extra_modules: embed_tokens (and lm_head).",
    ),
    Rule(
        "PiSSA needs full weights",
        ("pissa_init", "quantization_bit"),
        lambda c: c.pissa_init and c.quantization_bit is not None,
        "pissa_init splits the weights, which a quantised base cannot hold: use plain LoRA.",
    ),
    Rule(
        "one size of rotations",
        ("oft_rank", "oft_block_size"),
        lambda c: c.finetuning_type == "oft" and c.oft_rank > 0 and c.oft_block_size > 0 and is_set(c, "oft_block_size"),
        "oft_rank and oft_block_size say the same: keep one (oft_block_size: 0 with oft_rank).",
    ),
    Rule(
        "rotations have a size",
        ("oft_rank", "oft_block_size"),
        lambda c: c.finetuning_type == "oft" and not c.oft_rank and not c.oft_block_size,
        "oft_rank and oft_block_size are both 0: set one.",
    ),
    Rule(
        "full tuning has no new blocks",
        ("use_llama_pro", "finetuning_type"),
        lambda c: c.use_llama_pro and c.finetuning_type == "full",
        "use_llama_pro needs finetuning_type: freeze or lora.",
    ),
)
