"""Tiny models, and a few steps of AdamW by hand."""

import pytest
import torch

from luthier.adapters import ADAPTERS
from luthier.config import Config
from tests.conftest import make_tiny

IDS = torch.tensor([[3, 14, 15, 92, 65, 35, 89, 79, 32, 38, 46, 26]])


@torch.no_grad()
def logits(net) -> torch.Tensor:
    """What net says to IDS, without dropout."""
    was_training = net.training
    net.eval()
    found = net(input_ids=IDS, use_cache=False).logits.float()
    net.train(was_training)
    return found


def train(net, steps: int = 3, learning_rate: float = 1e-2) -> float:
    """A few steps that learn IDS by heart; the last loss."""
    net.train()
    learning = [parameter for parameter in net.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learning, learning_rate)
    for _ in range(steps):
        loss = net(input_ids=IDS, labels=IDS, use_cache=False).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return loss.item()


def attach(model=None, family="qwen3", seed=0, **keys):
    """(adapter, net) on a fresh tiny model of family."""
    model = model if model is not None else make_tiny(family)
    adapter = ADAPTERS[keys.get("finetuning_type", "lora")](Config(model_name_or_path="tiny", **keys))
    torch.manual_seed(seed)
    return adapter, adapter.attach(model)


@pytest.fixture
def saved(tmp_path):
    """A function that trains an adapter on the tiny model and writes it to a folder of that name."""

    def save(name: str = "adapter", steps: int = 3, family: str = "qwen3", model=None, **keys):
        adapter, net = attach(model, family, **keys)
        train(net, steps)
        folder = tmp_path / name
        folder.mkdir()
        adapter.save(net, folder)
        return folder, net

    return save
