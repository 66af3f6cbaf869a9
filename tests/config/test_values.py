"""Values as people write them."""

from pathlib import Path

import pytest

from luthier.config import load_config
from luthier.errors import ConfigError


def from_yaml(tmp_path: Path, text: str):
    file = tmp_path / "run.yaml"
    file.write_text(text, encoding="utf-8")
    return load_config(file)


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("learning_rate: 5e-5", 5e-5),  # PyYAML itself reads this as text
        ("learning_rate: '5e-05'", 5e-5),
        ("max_samples: 1e5", 100000),
        ("max_samples: 1000.0", 1000),
        ("max_steps: -1", -1),
        ("save_strategy: no", "no"),  # PyYAML itself reads this as False
        ("bf16: yes", True),
        ("bf16: 'False'", False),
        ("bf16: 0", False),
        ("packing: null", None),
        ("packing: none", None),
        ("packing:", None),
        ("enable_thinking: ~", None),
        ("run_name: 007", "007"),
        ("run_name: 1.10", "1.10"),
        ("run_name: 2024-05-01", "2024-05-01"),
        ("run_name: none", None),
        ("run_name: 'none'", "none"),
        ("default_system: ''", ""),
        ("default_system:", None),
        ("default_system: |\n  two\n  lines\n", "two\nlines\n"),
        ("output_dir: saves/with space/and # hash", "saves/with space/and"),
        ("output_dir: 'saves/with space/and # hash'", "saves/with space/and # hash"),
        ("dataset: a,b , c", ["a", "b", "c"]),
        ("dataset: [a, 'b,c']", ["a", "b,c"]),
        ("dataset:\n- 1\n- x", ["1", "x"]),
        ("dataset: []", None),
        ("interleave_probs: 0.5, 5e-1", [0.5, 0.5]),
        ("report_to: none", []),
        ("report_to: [none]", []),
        ("lora_target: '[qv]_proj'", ["[qv]_proj"]),
        (
            "lr_scheduler_kwargs: {num_cycles: 2, min_lr: 1e-6, x: 'no', y: no}",
            {"num_cycles": 2, "min_lr": 1e-6, "x": "no", "y": "no"},
        ),
        ("lr_scheduler_kwargs: '{\"num_cycles\": 0.5}'", {"num_cycles": 0.5}),
        ("dataset_dir: REMOTE:some/repo", "REMOTE:some/repo"),
        ("dataset_dir: {mine: {file_name: a.jsonl}}", {"mine": {"file_name": "a.jsonl"}}),
        ("gradient_checkpointing: true", "on"),
        ("gradient_checkpointing: false", "off"),
        ("gradient_checkpointing: AUTO", "auto"),
        ("resume_from_checkpoint: true", "true"),
        ("warmup_steps: 0.1", 0.1),
        ("save_steps: 100", 100),
        ("val_size: 1", 1.0),
        ("include_num_input_tokens_seen: all", True),
    ],
)
def test_yaml(tmp_path: Path, line: str, value: object):
    if line.startswith("interleave_probs"):
        line += "\nmix_strategy: interleave_over"
    if line.startswith("val_size"):
        line += "\ndataset: d"
    read = getattr(from_yaml(tmp_path, line), line.partition(":")[0])
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--bf16"], {"bf16": True}),
        (["--bf16", "--seed", "1"], {"bf16": True, "seed": 1}),
        (["--bf16", "seed=1"], {"bf16": True, "seed": 1}),
        (["--bf16", "True", "--plot_loss", "false"], {"bf16": True, "plot_loss": False}),
        (["--packing", "none"], {"packing": None}),
        (["--no_do_sample"], {"do_sample": False}),
        (["--max_steps", "-1"], {"max_steps": -1}),
        (["--freeze_trainable_layers", "-2"], {"freeze_trainable_layers": -2}),
        (["--dataset", "a", "b", "--bf16"], {"dataset": ["a", "b"], "bf16": True}),
        (["--dataset", "a", "seed=1"], {"dataset": ["a"], "seed": 1}),
        (["--output_dir", "with space"], {"output_dir": "with space"}),
        (["--output_dir=a=b"], {"output_dir": "a=b"}),
        (["default_system="], {"default_system": ""}),
        (["--eval_dataset", ""], {"eval_dataset": None}),
        (
            ["lr_scheduler_kwargs.num_cycles=3", "lr_scheduler_kwargs.min_lr=1e-6"],
            {"lr_scheduler_kwargs": {"num_cycles": 3, "min_lr": 1e-6}},
        ),
        (["--lr_scheduler_kwargs", '{"num_cycles": 3}'], {"lr_scheduler_kwargs": {"num_cycles": 3}}),
        (["--evaluation_strategy", "no"], {"eval_strategy": "no"}),
        (["--no_cuda"], {"use_cpu": True}),
        (["--resume_from_checkpoint", "saves/x"], {"resume_from_checkpoint": "saves/x"}),
    ],
)
def test_command_line(words: list[str], expected: dict):
    assert load_config(words).to_dict() == expected


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"lora_rank": True}, "is not a whole number"),
        ({"lora_rank": 1.5}, "is not a whole number"),
        ({"lora_rank": "eight"}, '"eight" is not a whole number'),
        ({"learning_rate": "fast"}, '"fast" is not a number'),
        ({"learning_rate": float("nan")}, "is not a number"),
        ({"learning_rate": "1e999"}, "is not a number"),
        ({"learning_rate": None}, "is not a number"),
        ({"bf16": "maybe"}, "is not true or false"),
        ({"bf16": 3}, "is not true or false"),
        ({"dataset": {"a": 1}}, "is not a list of names"),
        ({"lora_target": ""}, "is not a list of names"),
        ({"interleave_probs": "a,b"}, "is not a list of numbers"),
        ({"lr_scheduler_kwargs": "fast"}, "is not a mapping"),
        ({"optim": "adamw_torh"}, 'Did you mean "adamw_torch"?'),
        ({"learning_rate": 0}, "must be greater than 0"),
        ({"warmup_ratio": 1.5}, "must be at most 1"),
        ({"lora_rank": 0}, "must be at least 1"),
        ({"cutoff_len": 1}, "must be at least 2"),
        ({"val_size": -0.1}, "must be at least 0"),
        ({"lora_dropout": 1}, "must be less than 1"),
        ({"quantization_bit": 7}, "is not one of: 1, 2, 3, 4, 5, 6, 8"),
        ({"lora_rank": [1]}, "is not a whole number"),
        ({"run_name": {"a": 1}}, "is not text"),
    ],
)
def test_wrong_values(settings: dict, complaint: str):
    with pytest.raises(ConfigError, match=r"^[^\n]*$") as caught:
        load_config(settings)
    key = next(iter(settings))
    assert complaint in str(caught.value)
    assert str(caught.value).startswith(f"{key}: ")


def test_two_names_for_one_thing_are_one_value():
    assert load_config({"disable_gradient_checkpointing": True}).gradient_checkpointing == "off"
    assert load_config({"disable_gradient_checkpointing": False}).gradient_checkpointing == "auto"
    assert load_config({"eval_num_beams": 4}).num_beams == 4
    assert load_config({"generation_num_beams": "4", "eval_num_beams": 4}).num_beams == 4
