"""Advice and mistakes: known cases, and every stage and method has an answer."""

import pytest

from luthier.config import Config
from luthier.planner.advice import Facts, advise, mistakes

SEVEN = {"parameters": 7_000_000_000, "weights_a_rank": 2_500_000}


def told(keys: dict, **facts) -> dict:
    given = SEVEN | {"rows": 5000, "tokens": 1_000_000} | facts
    return {each.key: each.value for each in advise(Config(**keys), Facts(**given))}


@pytest.mark.parametrize("stage", ["pt", "sft", "kd", "rm", "dpo", "kto", "ppo", "grpo"])
@pytest.mark.parametrize("method", ["lora", "oft", "full", "freeze"])
def test_every_stage_and_method_is_advised_with_a_source(stage, method):
    found = advise(Config(stage=stage, finetuning_type=method), Facts(**SEVEN, rows=1000, tokens=100_000))
    assert {"learning_rate", "num_train_epochs"} <= {each.key for each in found}
    assert all(each.reason and each.source for each in found)


def test_lora_on_seven_billion_and_five_thousand_rows():
    found = told({"stage": "sft", "per_device_train_batch_size": 2})
    assert found["learning_rate"] == 2e-4 and found["num_train_epochs"] == 3
    assert found["lora_rank"] == 8  # 8 * 2.5 M weights * 2 bits = 40 M tokens
    assert found["gradient_accumulation_steps"] == 16  # 5000 * 3 / 100 = 150 samples: 32 at the most for LoRA


def test_full_tuning_gets_a_tenth_and_more_tokens_more_rank():
    assert told({"stage": "sft", "finetuning_type": "full"})["learning_rate"] == 2e-5
    assert told({"stage": "sft"}, tokens=100_000_000)["lora_rank"] == 32
    assert told({"stage": "dpo"})["learning_rate"] == 5e-6 and "lora_rank" not in told({"stage": "dpo"})

    assert told({"stage": "dpo"}, parameters=3_000_000)["learning_rate"] == 1e-3  # what is tiny hardly moves at 5e-6


GOOD = {"stage": "sft", "learning_rate": 2e-4, "val_size": 0.1}


@pytest.mark.parametrize(
    ("keys", "facts", "said"),
    [
        ({"finetuning_type": "full", "learning_rate": 2e-4}, {}, "is LoRA's"),
        ({"learning_rate": 1e-6}, {}, "far below"),
        ({"num_train_epochs": 10}, {"rows": 300}, "learned by heart"),
        ({"val_size": 0.0}, {}, "nothing is held out"),
        ({}, {"cut": 2000}, "longer than cutoff_len"),
        ({"template": "llama3"}, {"fits_template": False}, "template llama3"),
        ({}, {"own_template": False}, "base model"),
    ],
)
def test_classic_mistakes(keys, facts, said):
    given = SEVEN | {"rows": 5000, "tokens": 1_000_000} | facts
    (sentence,) = mistakes(Config(**(GOOD | keys)), Facts(**given))
    assert said in sentence


def test_a_sound_config_hears_nothing():
    assert mistakes(Config(**GOOD), Facts(**SEVEN, rows=5000, tokens=1_000_000)) == []
