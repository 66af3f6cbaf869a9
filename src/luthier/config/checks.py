"""Keys that do not go together, as one table of rules, each with its reason.

Enters: a Config whose single values are right.  Leaves: problems (the run could not do what was asked) and warnings (legal,
but a key does nothing).  Never looks at files, data or the machine.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from luthier.config.files import Entry
from luthier.config.problems import Problem
from luthier.config.schema import Config


@dataclass(frozen=True, slots=True)
class Rule:
    """broken(config) is true where the keys do not go together.  reason: why, and what to do.  keys: the ones to blame."""

    name: str
    keys: tuple[str, ...]
    broken: Callable[[Config], bool]
    reason: str
    warns: bool = False


def _has_eval_data(config: Config) -> bool:
    return bool(config.eval_dataset) or config.val_size > 0 or config.tokenized_path is not None


def _is_set(config: Config, *keys: str) -> bool:
    return any(key in config.model_fields_set and getattr(config, key) is not None for key in keys)


def _best_can_be_saved(config: Config) -> bool:
    """transformers' rule: the same strategy for both, and of the two intervals one a multiple of the other."""
    if config.save_strategy == "best":
        return True
    if config.save_strategy != config.eval_strategy:
        return False
    save, evaluate = config.save_steps, config.eval_steps or config.logging_steps
    if config.eval_strategy == "epoch" or save == evaluate:
        return True
    return min(save, evaluate) >= 1 and max(save, evaluate) % min(save, evaluate) == 0


def _pairs_need_reference(config: Config) -> bool:
    return config.stage == "dpo" and not set(config.pref_loss) <= {"orpo", "simpo", "cpo"}


TOKEN_LOSSES = {
    "use_dft_loss": ("sft",),
    "use_eaft_loss": ("sft",),
    "use_asft_loss": ("sft",),
    "label_smoothing_factor": ("sft", "pt"),
}
SMOOTHED = ("sigmoid", "robust", "simpo", "cpo")
LORA_ONLY = ("loraplus_lr_ratio", "use_rslora", "use_dora", "pissa_init")
LORA_SIZES = ("lora_rank", "lora_alpha", "lora_dropout", "lora_target", "create_new_adapter")

RULES = (
    # what a job needs
    Rule(
        "model is named",
        ("model_name_or_path", "do_train", "do_eval", "do_predict", "export_dir"),
        lambda c: (
            c.model_name_or_path is None
            and (c.do_train or (not c.adapter_name_or_path and (c.do_eval or c.do_predict or c.export_dir is not None)))
        ),
        "model_name_or_path is missing: name a hub model, a folder, or starter.",
    ),
    Rule(
        "training has data",
        ("dataset", "do_train"),
        lambda c: c.do_train and not c.dataset and c.tokenized_path is None,
        "do_train needs dataset: a name from dataset_info.json or a path.",
    ),
    Rule(
        "evaluation has data",
        ("do_eval",),
        lambda c: c.do_eval and not _has_eval_data(c),
        "do_eval needs eval_dataset, or val_size to set samples aside.",
    ),
    Rule(
        "evaluation during training has data",
        ("eval_strategy",),
        lambda c: c.do_train and c.eval_strategy != "no" and not _has_eval_data(c),
        "eval_strategy needs eval_dataset, or val_size to set samples aside (val_size: 0.1).",
    ),
    Rule(
        "prediction has data",
        ("do_predict", "dataset"),
        lambda c: c.do_predict and not c.dataset and not c.eval_dataset and c.tokenized_path is None,
        "do_predict needs eval_dataset or dataset.",
    ),
    # data
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
    # evaluation and prediction
    Rule(
        "prediction generates",
        ("do_predict", "predict_with_generate"),
        lambda c: c.stage == "sft" and c.do_predict and not c.predict_with_generate,
        "do_predict needs predict_with_generate: true.",
    ),
    Rule(
        "generation is for sft",
        ("predict_with_generate", "stage"),
        lambda c: c.stage != "sft" and c.predict_with_generate,
        "predict_with_generate belongs to stage sft (any text model can be asked with stage: sft).",
    ),
    Rule(
        "accuracy or texts",
        ("predict_with_generate", "compute_accuracy"),
        lambda c: c.predict_with_generate and c.compute_accuracy,
        "compute_accuracy compares single tokens, predict_with_generate whole answers: keep one.",
    ),
    Rule(
        "the best needs a score",
        ("load_best_model_at_end", "eval_strategy"),
        lambda c: c.do_train and c.load_best_model_at_end and c.eval_strategy == "no",
        "load_best_model_at_end needs eval_strategy: steps or epoch.",
    ),
    Rule(
        "the best is saved",
        ("load_best_model_at_end", "save_strategy", "save_steps", "eval_steps"),
        lambda c: c.do_train and c.load_best_model_at_end and c.eval_strategy != "no" and not _best_can_be_saved(c),
        "load_best_model_at_end needs saved checkpoints to choose from: save_strategy: best, or that of eval_strategy with "
        "save_steps a multiple of eval_steps.",
    ),
    Rule(
        "saving the best needs a score",
        ("save_strategy", "eval_strategy"),
        lambda c: c.do_train and c.save_strategy == "best" and c.eval_strategy == "no",
        "save_strategy: best needs eval_strategy: steps or epoch.",
    ),
    Rule(
        "early stopping needs a score",
        ("early_stopping_steps", "eval_strategy"),
        lambda c: c.do_train and c.early_stopping_steps is not None and c.eval_strategy == "no",
        "early_stopping_steps counts evaluations without a gain: set eval_strategy: steps or epoch.",
    ),
    Rule(
        "one number of beams",
        ("num_beams", "eval_num_beams", "generation_num_beams"),
        lambda c: any(beams not in (None, c.num_beams) for beams in (c.eval_num_beams, c.generation_num_beams)),
        "num_beams, eval_num_beams and generation_num_beams say different things: keep num_beams.",
    ),
    # precision, memory, engine
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
    # adapters
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
            lambda c, key=key: c.finetuning_type in ("full", "freeze") and _is_set(c, key),
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
        "PiSSA changes the base",
        ("pissa_init", "stage"),
        lambda c: c.pissa_init and c.stage == "ppo",
        "pissa_init changes the base weights, which this stage needs as its reference.",
    ),
    Rule(
        "one size of rotations",
        ("oft_rank", "oft_block_size"),
        lambda c: c.finetuning_type == "oft" and c.oft_rank > 0 and c.oft_block_size > 0 and _is_set(c, "oft_block_size"),
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
    # optimizers and schedules
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
            _is_set(c, "optim")
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
        lambda c: c.max_steps > 0 and _is_set(c, "num_train_epochs"),
        "max_steps and num_train_epochs are both set: max_steps is used.",
        warns=True,
    ),
    # teachers and rewards
    Rule(
        "distillation has a teacher",
        ("stage", "teacher_model"),
        lambda c: c.stage == "kd" and c.teacher_model is None,
        "stage kd needs teacher_model: the model to learn from.",
    ),
    Rule(
        "a teacher teaches",
        ("teacher_model", "stage"),
        lambda c: c.teacher_model is not None and c.stage != "kd",
        "teacher_model belongs to stage kd.",
    ),
    Rule(
        "a stream is not asked before",
        ("precompute_ref_log_probs", "streaming"),
        lambda c: c.precompute_ref_log_probs and c.streaming,
        "with streaming, the samples are not known before the training: take precompute_ref_log_probs out.",
    ),
    Rule(
        "a teacher speaks of all tokens",
        ("precompute_ref_log_probs", "stage"),
        lambda c: c.precompute_ref_log_probs and (c.stage in ("kd", "grpo", "ppo") or c.use_asft_loss),
        "precompute_ref_log_probs keeps the given tokens' probabilities only, and this stage needs more.",
    ),
    Rule(
        "GRPO has a reward",
        ("stage", "reward_funcs"),
        lambda c: c.stage == "grpo" and not c.reward_funcs and c.reward_model is None,
        "stage grpo needs reward_model, or reward_funcs: exact_answer, format, tool_call, length, or your file.py:function.",
    ),
    Rule(
        "rewards are not evaluated",
        ("eval_strategy", "stage"),
        lambda c: c.stage in ("grpo", "ppo") and (c.eval_strategy != "no" or c.val_size > 0 or bool(c.eval_dataset)),
        "evaluation during this stage is not built: its reward is that of the answers it learns from. Use luthier predict.",
    ),
    Rule(
        "prompts are read as a whole",
        ("streaming", "stage"),
        lambda c: c.stage in ("grpo", "ppo") and c.streaming,
        "streaming is not built for stages that draw answers.",
    ),
    Rule(
        "one weight a reward",
        ("reward_weights", "reward_funcs"),
        lambda c: c.reward_weights is not None and len(c.reward_weights) != len(c.reward_funcs or ()),
        "reward_weights must have one number for each function in reward_funcs.",
    ),
    # losses of single tokens
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
    # preferences and rewards
    Rule(
        "label smoothing of pairs",
        ("dpo_label_smoothing", "pref_loss"),
        lambda c: c.stage == "dpo" and c.dpo_label_smoothing > 0 and not set(c.pref_loss) & set(SMOOTHED),
        f"dpo_label_smoothing belongs to pref_loss: {', '.join(SMOOTHED)}.",
    ),
    Rule(
        "robust DPO divides by 1 - 2e",
        ("dpo_label_smoothing", "pref_loss"),
        lambda c: c.stage == "dpo" and "robust" in c.pref_loss and c.dpo_label_smoothing >= 0.5,
        "pref_loss: robust needs dpo_label_smoothing below 0.5.",
    ),
    Rule(
        "one weight a loss",
        ("pref_loss_weights", "pref_loss"),
        lambda c: c.pref_loss_weights is not None and len(c.pref_loss_weights) != len(c.pref_loss),
        "pref_loss_weights must have one number for each loss in pref_loss.",
    ),
    Rule(
        "pairs are whole",
        ("overflow", "stage"),
        lambda c: c.overflow == "split" and c.stage in ("rm", "dpo", "kto"),
        "overflow: split would tear an answer that is judged as a whole: use truncate, drop or error.",
    ),
    Rule(
        "a reference that is asked for is used",
        ("ref_model", "precompute_ref_log_probs"),
        lambda c: (
            (c.ref_model is not None or c.precompute_ref_log_probs)
            and not (_pairs_need_reference(c) or c.stage in ("kto", "ppo", "grpo", "kd"))
            and not (c.stage == "dpo" and c.pref_bco_weight)
            and not (c.use_asft_loss and not c.precompute_ref_log_probs)
        ),
        "this stage (with this pref_loss) compares with no reference model.",
    ),
    Rule(
        "PPO has a reward",
        ("stage", "reward_model"),
        lambda c: c.stage == "ppo" and c.reward_model is None and not c.reward_funcs,
        "stage ppo needs reward_model, or reward_funcs.",
    ),
    Rule(
        "reward adapters need lora",
        ("reward_model_type", "finetuning_type"),
        lambda c: c.stage == "ppo" and c.reward_model_type == "lora" and c.finetuning_type != "lora",
        "reward_model_type: lora needs finetuning_type: lora; use full or api.",
    ),
    # export
    Rule(
        "quantised export has data",
        ("export_quantization_bit", "export_quantization_dataset"),
        lambda c: c.export_quantization_bit is not None and c.export_quantization_dataset is None,
        "export_quantization_bit needs export_quantization_dataset: texts to calibrate with.",
    ),
    Rule(
        "merge first, then quantise",
        ("export_quantization_bit", "adapter_name_or_path"),
        lambda c: c.export_quantization_bit is not None and bool(c.adapter_name_or_path),
        "an adapter is merged in one export and the result quantised in a second.",
    ),
)


def find_conflicts(config: Config, entries: Mapping[str, Entry], skip: set[str]) -> tuple[list[Problem], list[Problem]]:
    """Problems and warnings. skip: keys already complained about; rules that blame one of them are left out."""
    problems: list[Problem] = []
    warnings: list[Problem] = []
    for rule in RULES:
        if skip.isdisjoint(rule.keys) and rule.broken(config):
            blamed = next((key for key in rule.keys if key in entries), rule.keys[0])
            where = entries[blamed].where if blamed in entries else ""
            (warnings if rule.warns else problems).append(Problem(where, rule.reason, blamed))
    return problems, warnings
