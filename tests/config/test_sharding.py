"""fsdp, fsdp_config and deepspeed, in every spelling that users bring."""

import json

import pytest

from luthier.config import load_config
from luthier.config.sharding import as_launched, sharding_of
from luthier.errors import ConfigError

JOB = {"stage": "sft", "do_train": True, "model_name_or_path": "m", "dataset": "d", "template": "qwen"}

ACCELERATE = """\
compute_environment: LOCAL_MACHINE
distributed_type: FSDP
fsdp_config:
  fsdp_auto_wrap_policy: TRANSFORMER_BASED_WRAP
  fsdp_backward_prefetch: BACKWARD_PRE
  fsdp_cpu_ram_efficient_loading: true
  fsdp_offload_params: true
  fsdp_sharding_strategy: SHARD_GRAD_OP
  fsdp_state_dict_type: FULL_STATE_DICT
  fsdp_use_orig_params: true
mixed_precision: bf16
num_processes: 2
"""

ZERO = {
    "train_batch_size": "auto",
    "train_micro_batch_size_per_gpu": "auto",
    "gradient_accumulation_steps": "auto",
    "gradient_clipping": "auto",
    "fp16": {"enabled": "auto", "loss_scale": 0},
    "bf16": {"enabled": "auto"},
    "zero_optimization": {"stage": 3, "overlap_comm": False, "stage3_max_live_parameters": 1e9},
}


def zero(**changes) -> str:
    return json.dumps(ZERO | {"zero_optimization": ZERO["zero_optimization"] | changes})


def seen(**keys):
    found = sharding_of(load_config(JOB | keys))
    return found and (found.reshard, found.offload)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, None),
        ({"fsdp": "true"}, (True, False)),
        ({"fsdp": "full_shard auto_wrap"}, (True, False)),
        ({"fsdp": "shard_grad_op offload"}, (False, True)),
        ({"fsdp": "no_shard"}, None),
        ({"fsdp": "full_shard", "fsdp_config": {"version": 2, "reshard_after_forward": False}}, (False, False)),
        ({"fsdp": "true", "fsdp_config": '{"fsdp_reshard_after_forward": true, "cpu_offload": true}'}, (True, True)),
        ({"deepspeed": zero()}, (True, False)),
        ({"deepspeed": zero(stage=2)}, (False, False)),
        ({"deepspeed": zero(stage=1)}, (False, False)),
        ({"deepspeed": zero(stage=0)}, None),
        ({"deepspeed": zero(offload_optimizer={"device": "cpu", "pin_memory": True})}, (True, True)),
        ({"deepspeed": zero(offload_param={"device": "none"})}, (True, False)),
        ({"deepspeed": zero(), "fp16": True}, (True, False)),
        ({"deepspeed": zero(stage=2), "quantization_bit": 4}, (False, False)),
        ({"fsdp": "full_shard auto_wrap offload", "quantization_bit": 4, "quantization_method": "hqq"}, (True, True)),
    ],
)
def test_what_is_asked_for(keys, expected):
    assert seen(**keys) == expected


def test_files_of_accelerate_and_deepspeed(tmp_path):
    (tmp_path / "fsdp.yaml").write_text(ACCELERATE)
    (tmp_path / "zero.json").write_text(json.dumps(ZERO))
    assert seen(fsdp="full_shard", fsdp_config=str(tmp_path / "fsdp.yaml")) == (True, True)  # the key wins over the file
    assert seen(fsdp_config=str(tmp_path / "fsdp.yaml")) == (False, True)
    assert seen(deepspeed=str(tmp_path / "zero.json")) == (True, False)
    said = sharding_of(load_config(JOB | {"deepspeed": str(tmp_path / "zero.json")})).describe(2, "cuda")
    assert "ZeRO-3" in said and "stage3_max_live_parameters" in said


def test_the_smallest_layer_counts_where_layers_are_chosen_by_size():
    """accelerate sets 100,000,000 whichever way layers are chosen."""
    launched = {"ACCELERATE_USE_FSDP": "true", "FSDP_MIN_NUM_PARAMS": "100000000"}
    assert sharding_of(load_config(JOB | as_launched(launched))).min_num_params == 0
    sized = as_launched(launched | {"FSDP_AUTO_WRAP_POLICY": "SIZE_BASED_WRAP"})
    assert sharding_of(load_config(JOB | sized)).min_num_params == 100_000_000
    assert sharding_of(load_config(JOB | {"fsdp": "true", "fsdp_min_num_params": 2000})).min_num_params == 2000


def test_layers_by_name():
    config = load_config(JOB | {"fsdp": "true", "fsdp_transformer_layer_cls_to_wrap": "Qwen3DecoderLayer,Other"})
    assert sharding_of(config).layers == ("Qwen3DecoderLayer", "Other")


def test_what_accelerate_launch_asks_for():
    """The variables as accelerate 1.15 sets them for LLaMA-Factory's own two files."""
    first = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "1", "FSDP_SHARDING_STRATEGY": "SHARD_GRAD_OP"}
    first |= {"FSDP_RESHARD_AFTER_FORWARD": "true", "FSDP_OFFLOAD_PARAMS": "true", "FSDP_MIN_NUM_PARAMS": "100000000"}
    second = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", "FSDP_SHARDING_STRATEGY": "1"}
    second |= {"FSDP_RESHARD_AFTER_FORWARD": "false", "FSDP_OFFLOAD_PARAMS": "false"}
    assert seen(**as_launched(first)) == (False, True)
    assert seen(**as_launched(second)) == (False, False)
    assert seen(**as_launched({"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_ZERO_STAGE": "3"})) == (True, False)
    assert as_launched({}) == {}


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"fsdp": "hybrid_shard"}, '"hybrid_shard" is not built'),
        ({"fsdp": "true", "fsdp_config": {"reshard_after_foward": True}}, 'Did you mean "reshard_after_forward"'),
        ({"fsdp": "true", "fsdp_config": {"xla": True}}, "xla: true is not built"),
        ({"fsdp": "true", "fsdp_config": "nowhere.json"}, "no file nowhere.json"),
        ({"deepspeed": zero(stage=4)}, "stage is 4"),
        ({"deepspeed": zero(offload_param={"device": "nvme", "nvme_path": "/x"})}, "NVMe"),
        ({"deepspeed": zero(zero_hpz_partition_size=8)}, "zero_hpz_partition_size: 8"),
        ({"deepspeed": json.dumps(ZERO | {"tensor_parallel": {"autotp_size": 2}})}, 'unknown setting "tensor_parallel"'),
        ({"deepspeed": json.dumps(ZERO | {"gradient_accumulation_steps": 3})}, "is 3, but the configuration makes it 1"),
        ({"deepspeed": json.dumps(ZERO | {"bf16": {"enabled": True}})}, "bf16 is on, but the configuration says"),
        ({"deepspeed": json.dumps(ZERO | {"optimizer": {"type": "AdamW"}})}, "optimizer is set here and in"),
        ({"deepspeed": "{broken"}, "cannot be read"),
        ({"deepspeed": zero(), "fsdp": "true"}, "keep one"),
        ({"fsdp": "true", "optim": "adafactor"}, "needs whole matrices"),
        ({"fsdp": "true", "quantization_bit": 4, "finetuning_type": "full"}, "quantised base cannot be trained itself"),
        ({"deepspeed": zero(), "pissa_init": True}, "pissa_init needs whole weights"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(keys, words):
    with pytest.raises(ConfigError) as error:
        load_config(JOB | keys)
    assert words in str(error.value)
