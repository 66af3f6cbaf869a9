"""A field is in sight where its key does something, and only there."""

import pytest

from luthier.webui.layout import is_relevant

SEEN = {
    "dpo": {"pref_beta", "pref_loss", "pref_ftx", "simpo_gamma", "ref_model", "precompute_ref_log_probs"},
    "kto": {"pref_beta", "pref_ftx", "kto_chosen_weight", "ref_model", "precompute_ref_log_probs"},
    "ppo": {"ppo_epochs", "reward_model", "reward_funcs", "ref_model"},
    "grpo": {"grpo_beta", "num_generations", "num_iterations", "reward_model", "reward_funcs", "ref_model"},
    "kd": {"kd_alpha", "teacher_model"},
    "rm": set(),
}


@pytest.mark.parametrize("stage", SEEN)
def test_what_a_stage_reads_is_shown_in_it_and_what_it_does_not_read_is_not(stage):
    every = set().union(*SEEN.values())
    assert {key for key in every if is_relevant(key, {"stage": stage})} == SEEN[stage]


def test_other_keys_are_always_in_sight():
    assert is_relevant("learning_rate", {"stage": "ppo"}) and is_relevant("lora_rank", {}), "lora is the default"
    assert not is_relevant("lora_rank", {"finetuning_type": "full"})
    assert is_relevant("export_quantization_dataset", {"export_format": "awq"})
    assert not is_relevant("export_quantization_dataset", {"export_format": "gguf"})
