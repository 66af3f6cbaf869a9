"""The examples parse, and so do configs in the style of LLaMA-Factory's users."""

from pathlib import Path

import pytest

from luthier.config import load_config

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))

LORA = """
### model
model_name_or_path: Qwen/Qwen2.5-0.5B-Instruct
trust_remote_code: true

### method
stage: sft
do_train: true
finetuning_type: lora
lora_rank: 8
lora_target: all

### dataset
dataset: identity,alpaca_en_demo
template: qwen
cutoff_len: 2048
max_samples: 1000
preprocessing_num_workers: 16
dataloader_num_workers: 4

### output
output_dir: saves/qwen/lora/sft
logging_steps: 10
save_steps: 500
plot_loss: true
overwrite_output_dir: true
save_only_model: false
report_to: none  # choices: [none, wandb, tensorboard, swanlab, mlflow]

### train
per_device_train_batch_size: 1
gradient_accumulation_steps: 8
learning_rate: 1.0e-4
num_train_epochs: 3.0
lr_scheduler_type: cosine
warmup_ratio: 0.1
bf16: true
ddp_timeout: 180000000
resume_from_checkpoint: null

### eval
# eval_dataset: alpaca_en_demo
val_size: 0.1
per_device_eval_batch_size: 1
eval_strategy: steps
eval_steps: 500
"""
PRETRAIN = """
model_name_or_path: some/base
stage: pt
do_train: true
finetuning_type: full
dataset: c4_demo
cutoff_len: 2048
packing: true
output_dir: saves/base/pt
learning_rate: 1e-4
adam_beta2: 0.95
lr_scheduler_type: warmup_stable_decay
warmup_steps: 0.02
pure_bf16: true
group_by_length: false
remove_unused_columns: false
"""
FREEZE = """
model_name_or_path: some/base
stage: sft
do_train: True
finetuning_type: freeze
freeze_trainable_layers: -2
freeze_trainable_modules: all
freeze_extra_modules: embed_tokens,norm
dataset: identity
template: default
output_dir: saves/base/freeze
save_strategy: no
disable_gradient_checkpointing: true
neftune_noise_alpha: 5
load_best_model_at_end: true
evaluation_strategy: "no"
"""
PREDICT = """
model_name_or_path: some/model
adapter_name_or_path: saves/a, saves/b
stage: sft
do_predict: true
finetuning_type: lora
eval_dataset: identity,alpaca_en_demo
template: qwen
output_dir: saves/predict
per_device_eval_batch_size: 1
predict_with_generate: true
ddp_timeout: 180000000
max_new_tokens: 128
"""
CHAT = """
model_name_or_path: some/model
adapter_name_or_path: saves/a
template: qwen
infer_backend: huggingface  # choices: [huggingface, vllm, sglang]
trust_remote_code: true
"""


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_example(path: Path):
    config = load_config(path)
    assert config.model_name_or_path == "starter"
    assert path.read_text(encoding="utf-8").startswith("# ")


def test_there_is_an_example_for_each_job():
    names = {path.stem for path in EXAMPLES}
    assert {"train_lora_sft", "train_full_sft", "train_freeze_sft", "train_pt", "predict", "export", "chat"} <= names


def test_lora(tmp_path: Path):
    config = read(tmp_path, LORA)
    assert config.dataset == ["identity", "alpaca_en_demo"]
    assert config.learning_rate == 1e-4
    assert config.report_to == []
    assert config.resume_from_checkpoint is None
    assert config.lora_alpha is None


def test_pretraining(tmp_path: Path):
    config = read(tmp_path, PRETRAIN)
    assert (config.learning_rate, config.warmup_steps, config.packing) == (1e-4, 0.02, True)


def test_freeze(tmp_path: Path):
    config = read(tmp_path, FREEZE.replace("load_best_model_at_end: true\n", ""))
    assert config.freeze_trainable_layers == -2
    assert config.freeze_extra_modules == ["embed_tokens", "norm"]
    assert (config.save_strategy, config.eval_strategy) == ("no", "no")


def test_predict_and_chat(tmp_path: Path):
    assert read(tmp_path, PREDICT).adapter_name_or_path == ["saves/a", "saves/b"]
    assert read(tmp_path, CHAT).infer_backend == "huggingface"


def read(folder: Path, text: str):
    file = folder / "run.yaml"
    file.write_text(text, encoding="utf-8")
    return load_config(file)
