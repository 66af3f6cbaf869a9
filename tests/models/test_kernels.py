"""Liger's kernels: what is missing is said before anything is read, and its losses never come in."""

import pytest

from luthier.config import Config, load_config
from luthier.errors import ModelError
from luthier.models import kernels
from luthier.models.load import load_model
from tests.conftest import make_tiny


def test_a_cpu_has_none_of_them(tmp_path):
    make_tiny("qwen3").save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="runs on the CPU"):
        load_model(Config(model_name_or_path=str(tmp_path), enable_liger_kernel=True))


def test_the_package_is_named(monkeypatch):
    monkeypatch.setattr(kernels, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"pip install 'luthier\[liger\]'"):
        kernels.require_kernels(Config(enable_liger_kernel=True), "cuda:0")


def test_its_losses_stay_out(monkeypatch):
    given = []
    monkeypatch.setattr("transformers.integrations.liger.apply_liger_kernel", lambda model, settings: given.append(settings))
    model = make_tiny("qwen3")
    kernels.use_kernels(Config(), model)
    kernels.use_kernels(
        load_config({"use_liger_kernel": True, "liger_kernel_config": {"rope": False, "cross_entropy": True}}), model
    )
    assert given == [{"rope": False, "cross_entropy": False, "fused_linear_cross_entropy": False}]
