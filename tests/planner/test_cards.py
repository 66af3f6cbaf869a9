"""Cards are found as people write them, and a wrong name is told what is near."""

import pytest
import torch

from luthier.config import Config
from luthier.errors import ConfigError
from luthier.planner.cards import _table, find_card
from luthier.runtime.precision import training_precision


@pytest.mark.parametrize("name", ["RTX 4090", "rtx4090", "4090", "NVIDIA GeForce RTX 4090", "RTX-4090 24GB"])
def test_one_card_has_many_spellings(name):
    card = find_card(name)
    assert (card.device.name, card.memory_bytes, card.flops_per_second) == ("RTX 4090", 24 << 30, 165.2e12)


def test_a_size_chooses_among_cards_of_one_name():
    assert find_card("A100").memory_bytes == 80 << 30
    assert find_card("a100 40gb").memory_bytes == 40 << 30
    with pytest.raises(ConfigError, match="80 GB or 40 GB, not 24 GB"):
        find_card("A100 24GB")


def test_an_unknown_card_is_told_the_nearest():
    with pytest.raises(ConfigError, match="Did you mean RTX 4090"):
        find_card("RTX 4091")


def test_a_card_without_bfloat16_trains_without_it():
    asked = Config(bf16=True)
    assert training_precision(asked, find_card("V100").device, None).compute_dtype == torch.float32
    assert training_precision(asked, find_card("RTX 3090").device, None).compute_dtype == torch.bfloat16


def test_every_card_has_its_figures_and_their_source():
    for name, row in _table().items():
        assert {"memory", "bandwidth", "bf16", "source"} <= row.keys(), name
        assert row["bf16"] or row["fp16"], name
        assert find_card(name).source
