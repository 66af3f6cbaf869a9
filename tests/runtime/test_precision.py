"""Number formats: what was asked, what the device can do, and the sentence that tells the difference."""

import pytest
import torch

from luthier.config import Config
from luthier.runtime import precision
from luthier.runtime.device import Device
from luthier.runtime.precision import choose_tf32, inference_precision, obstacle, training_precision

GPU = Device(kind="cuda", index=0, name="a GPU")
CPU = Device(kind="cpu", name="a CPU")


@pytest.fixture
def modern(monkeypatch):
    """A GPU and a CPU that multiply bfloat16 as fast as anything."""
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: True)
    monkeypatch.setattr(precision, "bfloat16_slowdown", lambda: 0.5)


@pytest.fixture
def old(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: False)
    monkeypatch.setattr(precision, "bfloat16_slowdown", lambda: 55.0)


@pytest.mark.parametrize(
    ("keys", "weights", "compute", "autocast", "scaler"),
    [
        ({"finetuning_type": "full"}, "float32", "float32", False, False),
        ({"finetuning_type": "full", "bf16": True}, "float32", "bfloat16", True, False),
        ({"finetuning_type": "full", "fp16": True}, "float32", "float16", True, True),
        ({"finetuning_type": "full", "pure_bf16": True}, "bfloat16", "bfloat16", False, False),
        ({"finetuning_type": "lora"}, "float32", "float32", False, False),
        ({"finetuning_type": "lora", "bf16": True}, "bfloat16", "bfloat16", True, False),
        ({"finetuning_type": "freeze", "fp16": True}, "float16", "float16", True, True),
        ({"finetuning_type": "lora", "pure_bf16": True}, "bfloat16", "bfloat16", False, False),
    ],
)
@pytest.mark.usefixtures("modern")
def test_the_table_of_the_module(keys, weights, compute, autocast, scaler):
    found = training_precision(Config(**keys), GPU)
    assert (str(found.param_dtype), str(found.compute_dtype)) == (f"torch.{weights}", f"torch.{compute}")
    assert (found.autocast, found.grad_scaler, found.note) == (autocast, scaler, "")


@pytest.mark.usefixtures("modern")
def test_nothing_asked_keeps_a_frozen_base_as_it_is_stored():
    assert training_precision(Config(), GPU, torch.bfloat16).param_dtype == torch.bfloat16
    assert training_precision(Config(finetuning_type="full"), GPU, torch.bfloat16).param_dtype == torch.float32


@pytest.mark.parametrize("key", ["bf16", "pure_bf16", "fp16"])
@pytest.mark.usefixtures("old")
def test_a_cpu_that_cannot_says_so_and_trains_in_float32(key):
    found = training_precision(Config(**{key: True}), CPU)
    assert found.param_dtype == found.compute_dtype == torch.float32
    assert not found.autocast
    assert key in found.note
    assert "float32" in found.note


@pytest.mark.usefixtures("old")
def test_nothing_asked_says_nothing():
    assert training_precision(Config(), CPU, torch.bfloat16).note == ""
    assert training_precision(Config(), CPU, torch.bfloat16).param_dtype == torch.float32


@pytest.mark.usefixtures("modern")
def test_a_cpu_that_can_uses_it():
    assert training_precision(Config(bf16=True), CPU).compute_dtype == torch.bfloat16


@pytest.mark.usefixtures("old")
def test_an_old_gpu_is_pointed_to_fp16():
    assert "fp16" in training_precision(Config(bf16=True), GPU).note
    assert training_precision(Config(fp16=True), GPU).compute_dtype == torch.float16


@pytest.mark.usefixtures("modern")
def test_answering_follows_infer_dtype_and_then_the_files():
    assert inference_precision(Config(), GPU, torch.float16).param_dtype == torch.float16
    assert inference_precision(Config(infer_dtype="bfloat16"), GPU, torch.float16).param_dtype == torch.bfloat16
    assert inference_precision(Config(infer_dtype="float16"), CPU).param_dtype == torch.float32
    assert "infer_dtype" in inference_precision(Config(infer_dtype="float16"), CPU).note


def test_float32_has_no_obstacle_anywhere():
    assert obstacle(torch.float32, CPU) == obstacle(torch.float32, GPU) == ""


def test_the_measured_slowdown_is_a_ratio_and_leaves_the_threads_alone():
    threads = torch.get_num_threads()
    assert 0 < precision.bfloat16_slowdown() < 10_000
    assert torch.get_num_threads() == threads


def test_autocast_context_is_what_it_says():
    layer = torch.nn.Linear(4, 4)
    mixed = precision.Precision(device_type="cpu", param_dtype=torch.float32, compute_dtype=torch.bfloat16, autocast=True)
    with mixed.context():
        assert layer(torch.ones(1, 4)).dtype == torch.bfloat16
    plain = precision.Precision(device_type="cpu", param_dtype=torch.float32, compute_dtype=torch.float32)
    with plain.context():
        assert layer(torch.ones(1, 4)).dtype == torch.float32
    assert (str(mixed), str(plain)) == ("bfloat16, weights float32", "float32")


def test_tf32_is_chosen_where_it_is_asked_for_and_missed_aloud(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0))
    before = torch.get_float32_matmul_precision()
    try:
        assert choose_tf32(True, GPU) == "" and torch.get_float32_matmul_precision() == "high"
        assert choose_tf32(None, GPU) == "" and torch.get_float32_matmul_precision() == "high"
        assert choose_tf32(False, GPU) == "" and torch.get_float32_matmul_precision() == "highest"
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
        assert "a GPU has none" in choose_tf32(True, GPU) and "a CPU has none" in choose_tf32(True, CPU)
    finally:
        torch.set_float32_matmul_precision(before)
