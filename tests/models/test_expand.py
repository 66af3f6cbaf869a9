"""LLaMA-Pro: an expanded model says what it said before; only the new blocks learn."""

import pytest
import torch

from luthier.adapters import ADAPTERS
from luthier.config import Config
from luthier.errors import ConfigError
from luthier.models.expand import expand
from tests.adapters.conftest import logits, train
from tests.conftest import make_tiny


@pytest.mark.parametrize("family", ["qwen3", "llama", "mistral"])
def test_new_blocks_change_nothing(family, tmp_path):
    from transformers import AutoModelForCausalLM

    before = logits(make_tiny(family, num_hidden_layers=4))
    model = expand(make_tiny(family, num_hidden_layers=4), 2)
    assert model.config.num_hidden_layers == len(model.model.layers) == 6
    torch.testing.assert_close(logits(model), before, rtol=0, atol=0)
    model.save_pretrained(tmp_path)
    torch.testing.assert_close(logits(AutoModelForCausalLM.from_pretrained(tmp_path)), before, rtol=0, atol=1e-6)


@pytest.mark.parametrize("finetuning_type", ["freeze", "lora"])
def test_only_the_new_blocks_learn(finetuning_type):
    model = expand(make_tiny("qwen3", num_hidden_layers=4), 2)
    config = Config(model_name_or_path="tiny", finetuning_type=finetuning_type, use_llama_pro=True, freeze_trainable_layers=2)
    net = ADAPTERS[finetuning_type](config).attach(model)
    learning = {name.split("layers.")[1].split(".")[0] for name, p in net.named_parameters() if p.requires_grad}
    assert learning == {"2", "5"}
    first = train(net, steps=1)
    assert train(net, steps=5) < first


def test_blocks_that_do_not_divide():
    with pytest.raises(ConfigError, match="cannot be expanded evenly by 3"):
        expand(make_tiny("qwen3", num_hidden_layers=4), 3)
    config = Config(model_name_or_path="tiny", finetuning_type="freeze", use_llama_pro=True, freeze_trainable_layers=3)
    with pytest.raises(ConfigError, match="do not divide into 3"):
        ADAPTERS["freeze"](config).attach(make_tiny("qwen3", num_hidden_layers=4))
