"""Keys that do not go together: each rule fires on a config that breaks it and stays still on one that does not."""

import logging

import pytest

from luthier.config import Config, load_config
from luthier.config.checks import find_conflicts
from luthier.config.rules import RULES
from luthier.config.rules.stages import STAGE_KEYS
from luthier.errors import ConfigError

JOB = {"model_name_or_path": "m", "dataset": "d", "do_train": True}
OTHER = {
    "pref_beta": 0.2, "pref_ftx": 0.1, "pref_bco_weight": 0.1, "pref_loss": "ipo", "pref_loss_weights": "1",
    "dpo_label_smoothing": 0.1, "ld_alpha": 0.5, "simpo_gamma": 1.0, "kto_chosen_weight": 2.0, "kto_rejected_weight": 2.0,
    "kd_alpha": 0.5, "kd_beta": 0.5, "kd_temperature": 2.0, "num_generations": 4, "num_iterations": 2, "grpo_loss": "dapo",
    "grpo_beta": 0.1, "grpo_epsilon": 0.1, "grpo_epsilon_high": 0.3, "ppo_buffer_size": 2, "ppo_epochs": 1,
    "ppo_score_norm": True, "ppo_target": 3.0, "ppo_whiten_rewards": True, "moe_aux_loss_coef": 0.1,
}  # fmt: skip
"""A value of each key that is not its default."""
BROKEN = {
    "model is named": {"do_train": True, "dataset": "d"},
    "training has data": {"do_train": True, "model_name_or_path": "m"},
    "evaluation has data": {"do_eval": True, "model_name_or_path": "m"},
    "evaluation during training has data": JOB | {"eval_strategy": "steps"},
    "prediction has data": {"do_predict": True, "predict_with_generate": True, "model_name_or_path": "m"},
    "one source of eval data": JOB | {"val_size": 0.1, "eval_dataset": "e"},
    "val_size has something to split": {"val_size": 0.1},
    "val_size is a share or a count": JOB | {"val_size": 1.5},
    "streaming has an end": JOB | {"streaming": True},
    "streaming has no last batch": JOB | {"streaming": True, "max_steps": 5, "dataloader_drop_last": True},
    "streaming sets a count aside": JOB | {"streaming": True, "max_steps": 5, "val_size": 0.1},
    "streaming has no max_samples": JOB | {"streaming": True, "max_steps": 5, "max_samples": 10},
    "probabilities are for interleaving": {"interleave_probs": [1.0]},
    "one probability a dataset": {"mix_strategy": "interleave_over", "interleave_probs": [0.5, 0.5], "dataset": "d"},
    "probabilities are not negative": {"mix_strategy": "interleave_over", "interleave_probs": [-1.0]},
    "what is learned": {"mask_history": True, "train_on_prompt": True},
    "masks are for sft": {"stage": "pt", "mask_history": True},
    "neat packing packs": {"packing": False, "neat_packing": True},
    "prediction generates": {"do_predict": True, "model_name_or_path": "m", "dataset": "d"},
    "generation is for sft": {"stage": "pt", "predict_with_generate": True},
    "accuracy or texts": {"predict_with_generate": True, "compute_accuracy": True},
    "the best needs a score": JOB | {"load_best_model_at_end": True},
    "the best is saved": JOB
    | {"val_size": 0.1, "load_best_model_at_end": True, "eval_strategy": "steps", "save_strategy": "epoch"},
    "saving the best needs a score": JOB | {"save_strategy": "best"},
    "early stopping needs a score": JOB | {"early_stopping_steps": 3},
    "one number of beams": {"num_beams": 2, "eval_num_beams": 4},
    "one precision": {"fp16": True, "bf16": True},
    "one precision below fp8": {"fp8": True, "quantization_bit": 4},
    "checkpointing is on or off": {"gradient_checkpointing": "on", "disable_gradient_checkpointing": True},
    "training uses torch": JOB | {"infer_backend": "vllm"},
    "adapters are for lora and oft": {"finetuning_type": "full", "adapter_name_or_path": "a"},
    "loraplus_lr_ratio is for lora": {"finetuning_type": "full", "loraplus_lr_ratio": 16},
    "use_rslora is for lora": {"finetuning_type": "oft", "use_rslora": True},
    "use_dora is for lora": {"finetuning_type": "freeze", "use_dora": True},
    "pissa_init is for lora": {"finetuning_type": "full", "pissa_init": True},
    "lora_rank is for adapters": {"finetuning_type": "full", "lora_rank": 8},
    "lora_alpha is for adapters": {"finetuning_type": "full", "lora_alpha": 8},
    "lora_dropout is for adapters": {"finetuning_type": "freeze", "lora_dropout": 0.1},
    "lora_target is for adapters": {"finetuning_type": "full", "lora_target": "all"},
    "create_new_adapter is for adapters": {"finetuning_type": "full", "create_new_adapter": True},
    "nothing is trained": JOB | {"finetuning_type": "freeze", "freeze_trainable_layers": 0},
    "random weights and an adapter": JOB | {"train_from_scratch": True},
    "quantised bases learn by adapters": JOB | {"quantization_bit": 4, "finetuning_type": "full"},
    "adapters are merged into full weights": {"quantization_bit": 4, "export_dir": "x", "model_name_or_path": "m"},
    "random weights have no bits to spare": {"train_from_scratch": True, "quantization_bit": 4},
    "new tokens are learned": {"finetuning_type": "freeze", "add_tokens": "<a>"},
    "PiSSA needs full weights": {"pissa_init": True, "quantization_bit": 4},
    "quantised bases take one adapter": {"quantization_bit": 4, "adapter_name_or_path": "a,b"},
    "quantised bases keep their vocabulary": {"quantization_bit": 4, "resize_vocab": True},
    "quantised training is on one device map": JOB | {"quantization_device_map": "auto"},
    "modes are inductor's": {"torch_compile_mode": "default", "torch_compile_backend": "aot_eager"},
    "layers that learn are compiled": {"do_eval": True, "model_name_or_path": "m", "eval_dataset": "e", "torch_compile": True},
    "layers that draw answers are not compiled": JOB | {"stage": "grpo", "reward_funcs": "format", "torch_compile": True},
    "a stage that draws answers is not cut": {"fsdp": "full_shard", "stage": "ppo", "reward_model": "r"},
    "PiSSA is not cut": {"fsdp": "shard_grad_op", "pissa_init": True},
    "an optimizer of matrices is not cut": {"fsdp": "full_shard", "finetuning_type": "full", "use_galore": True},
    "one size of rotations": {"finetuning_type": "oft", "oft_rank": 4, "oft_block_size": 8},
    "rotations have a size": {"finetuning_type": "oft", "oft_block_size": 0},
    "full tuning has no new blocks": {"use_llama_pro": True, "finetuning_type": "full"},
    "one low-memory optimizer": {"use_galore": True, "use_badam": True, "finetuning_type": "full"},
    "low-memory optimizers are for full tuning": {"use_apollo": True},
    "projections are AdamW's": {"use_galore": True, "finetuning_type": "full", "optim": "sgd"},
    "options of an optimizer by name": {"use_muon": True, "optim_args": "momentum=0.9"},
    "projected names have targets": {"optim_target_modules": "all"},
    "projected names are for full tuning": {"optim": "apollo_adamw"},
    "gradients that are gone cannot be scaled": {"optim": "lomo", "fp16": True},
    "schedule-free has no schedule": {"optim": "schedule_free_sgd"},
    "a plateau is seen in an evaluation": JOB | {"lr_scheduler_type": "reduce_lr_on_plateau"},
    "one warm-up": {"warmup_steps": 5, "warmup_ratio": 0.1},
    "one length of training": {"max_steps": 5, "num_train_epochs": 2},
    "label smoothing of pairs": {"stage": "dpo", "pref_loss": "ipo", "dpo_label_smoothing": 0.1},
    "robust DPO divides by 1 - 2e": {"stage": "dpo", "pref_loss": "robust", "dpo_label_smoothing": 0.5},
    "one weight a loss": {"stage": "dpo", "pref_loss": "sigmoid,ipo", "pref_loss_weights": "1"},
    "pairs are packed anyway": {"stage": "dpo", "packing": True},
    "pairs are whole": {"stage": "dpo", "overflow": "split"},
    "a reference that is asked for is used": {"stage": "dpo", "pref_loss": "simpo", "ref_model": "m"},
    "distillation has a teacher": {"stage": "kd"},
    "a teacher teaches": {"teacher_model": "m"},
    "a stream is not asked before": {"stage": "dpo", "precompute_ref_log_probs": True, "streaming": True, "max_steps": 1},
    "a teacher speaks of all tokens": {"stage": "kd", "teacher_model": "m", "precompute_ref_log_probs": True},
    "GRPO has a reward": {"stage": "grpo"},
    "prompts are read as a whole": {"stage": "grpo", "reward_funcs": "format", "streaming": True, "max_steps": 1},
    "one weight a reward": {"stage": "grpo", "reward_funcs": "format", "reward_weights": "1,2"},
    "one loss of tokens": {"use_dft_loss": True, "use_eaft_loss": True},
    "use_dft_loss is for sft": {"stage": "pt", "use_dft_loss": True},
    "use_eaft_loss is for sft": {"stage": "dpo", "use_eaft_loss": True},
    "use_asft_loss is for sft": {"stage": "rm", "use_asft_loss": True},
    "label_smoothing_factor is for sft": {"stage": "dpo", "label_smoothing_factor": 0.1},
    "PPO has a reward": {"stage": "ppo"},
    "reward adapters need lora": {"stage": "ppo", "reward_model": "r", "finetuning_type": "full"},
    "ref_model is named": {"stage": "dpo", "ref_model_adapters": "a"},
    "reward_model is named": {"stage": "ppo", "reward_funcs": "format", "reward_model_quantization_bit": 4},
    "teacher_model is named": {"stage": "kd", "teacher_model_adapters": "a"},
    "rewards are for answers": JOB | {"stage": "dpo", "reward_funcs": "format"},
    "a reward adapter is one": {"stage": "grpo", "reward_model": "r", "reward_model_adapters": "a"},
    "answers are drawn as the model speaks": JOB | {"stage": "grpo", "reward_funcs": "format", "do_sample": False},
    **{f"{key} is for {' and '.join(stages)}": JOB | {"stage": "rm", key: OTHER[key]} for key, stages in STAGE_KEYS.items()},
    "quantised export has data": {"export_quantization_bit": 4},
    "quantised export is GPTQ": {
        "export_quantization_bit": 4,
        "export_quantization_dataset": "c",
        "export_format": "gguf",
    },
}
SOUND = (
    {},
    JOB,
    JOB
    | {
        "eval_strategy": "steps",
        "val_size": 1,
        "save_strategy": "best",
        "load_best_model_at_end": True,
        "early_stopping_steps": 3,
    },
    JOB | {"eval_strategy": "steps", "val_size": 20, "eval_steps": 50, "save_steps": 100, "load_best_model_at_end": True},
    JOB
    | {"eval_strategy": "epoch", "val_size": 0.5, "save_strategy": "epoch", "load_best_model_at_end": True, "logging_steps": 7},
    {"eval_num_beams": 4},
    JOB | {"streaming": True, "max_steps": 5, "val_size": 10, "eval_strategy": "steps"},
    JOB | {"finetuning_type": "full", "pure_bf16": True, "packing": True, "neat_packing": True},
    JOB | {"mix_strategy": "interleave_under", "dataset": "a,b", "interleave_probs": "0.3,0.7"},
    {"do_predict": True, "predict_with_generate": True, "model_name_or_path": "m", "dataset": "d"},
    {"export_dir": "e", "model_name_or_path": "m", "adapter_name_or_path": "a,b"},
    JOB | {"stage": "grpo", "reward_funcs": "format", "val_size": 5, "eval_strategy": "steps", "grpo_beta": 0.1, "top_p": 0.9},
    JOB | {"stage": "ppo", "reward_funcs": "format", "finetuning_type": "full", "ppo_epochs": 1, "do_sample": True},
    JOB | {"stage": "dpo", "ref_model": "m", "ref_model_adapters": "a", "pref_loss": "ipo", "num_generations": 8},
    {"tokenized_path": "t", "do_train": True, "model_name_or_path": "m", "val_size": 0.1},
)


def test_names_are_unique_and_all_are_tried():
    names = [rule.name for rule in RULES]
    assert len(names) == len(set(names))
    assert set(names) == set(BROKEN)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_rule(rule):
    assert set(rule.keys) <= set(Config.model_fields)
    assert rule.broken(Config(**BROKEN[rule.name]))
    for settings in SOUND:
        assert not rule.broken(Config(**settings)), settings


def test_a_rule_waits_until_its_keys_are_right_by_themselves():
    with pytest.raises(ConfigError) as caught:
        load_config({"val_size": "x", "eval_dataset": "e"})
    assert "\n" not in str(caught.value)
    broken = Config(fp16=True, bf16=True)
    assert len(find_conflicts(broken, {}, skip=set())[0]) == 1
    assert find_conflicts(broken, {}, skip={"bf16"}) == ([], [])


def test_what_does_nothing_is_a_warning(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING):
        config = load_config(["--finetuning_type", "full", "--lora_rank", "8"])
    assert config.lora_rank == 8
    assert [record.message for record in caplog.records] == [
        "command line: lora_rank does nothing with this finetuning_type: no adapter is trained."
    ]
