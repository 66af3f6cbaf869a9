"""The device of a run and its memory."""

import random

import numpy as np
import psutil
import torch

from luthier.config import Config
from luthier.runtime import device
from luthier.runtime.device import Device, memory, pick_device
from luthier.runtime.seeds import set_seed


def test_use_cpu_means_the_cpu():
    found = pick_device(Config(use_cpu=True))
    assert (found.kind, found.index, str(found), found.torch) == ("cpu", None, "cpu", torch.device("cpu"))
    assert found.name


def test_memory_is_that_of_the_machine_where_no_limit_is_set(monkeypatch):
    monkeypatch.setattr(device, "CGROUP_LIMITS", ())
    free, total = memory(Device(kind="cpu"))
    assert total == psutil.virtual_memory().total
    assert 0 < free <= total


def test_a_containers_limit_wins(monkeypatch, tmp_path):
    (tmp_path / "max").write_text(f"{2 << 30}\n")
    (tmp_path / "current").write_text(f"{1 << 30}\n")
    monkeypatch.setattr(device, "CGROUP_LIMITS", (str(tmp_path / "max"),))
    monkeypatch.setattr(device, "CGROUP_USES", (str(tmp_path / "current"),))
    free, total = memory(Device(kind="cpu"))
    assert total == 2 << 30
    assert free <= 1 << 30


def test_an_unlimited_container_has_the_machines_memory(monkeypatch, tmp_path):
    (tmp_path / "max").write_text("max\n")
    monkeypatch.setattr(device, "CGROUP_LIMITS", (str(tmp_path / "max"),))
    assert memory(Device(kind="cpu"))[1] == psutil.virtual_memory().total


def test_the_same_seed_draws_the_same_numbers():
    def draw():
        set_seed(7)
        return random.random(), np.random.rand(), torch.rand(1).item()

    assert draw() == draw()
