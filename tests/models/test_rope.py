"""rope_scaling: the frequencies by hand, and texts longer than the model's first context."""

import pytest
import torch

from luthier.config import Config
from luthier.errors import ConfigError
from luthier.models.load import load_config_of_model, load_model
from luthier.models.score import Scorer
from tests.conftest import make_tiny


@pytest.fixture
def folder(tmp_path):
    make_tiny("qwen3", max_position_embeddings=64).save_pretrained(tmp_path / "model")
    return str(tmp_path / "model")


def frequencies(folder, **keys):
    model = load_model(Config(model_name_or_path=folder, **keys), dtype=torch.float32)
    return model, model.model.rotary_emb.inv_freq


def test_linear_divides_every_frequency_by_the_factor(folder):
    _, plain = frequencies(folder)
    model, scaled = frequencies(folder, rope_scaling="linear", cutoff_len=200)
    assert model.config.rope_parameters["factor"] == 4.0  # ceil(200 / 64)
    assert model.config.max_position_embeddings == 256
    torch.testing.assert_close(scaled, plain / 4)


@pytest.mark.parametrize("kind", ["linear", "dynamic", "yarn", "llama3"])
def test_each_kind_answers_beyond_the_first_context_and_is_kept(folder, kind, tmp_path):
    model, _ = frequencies(folder, rope_scaling=kind, cutoff_len=100)
    ids = torch.randint(3, 90, (1, 100))
    assert torch.isfinite(model(input_ids=ids).logits).all()
    assert Scorer(model).layout in ("packed", "padded")
    model.save_pretrained(tmp_path / "kept")
    again = load_config_of_model(Config(model_name_or_path=str(tmp_path / "kept")))
    assert again.rope_parameters["rope_type"] == kind and again.rope_parameters["factor"] == 2.0


def test_short_frequencies_stay_under_yarn(folder):
    _, plain = frequencies(folder)
    _, scaled = frequencies(folder, rope_scaling="yarn", cutoff_len=512)
    torch.testing.assert_close(scaled[0], plain[0])
    assert scaled[-1] < plain[-1]


def test_a_model_without_rotary_positions_is_told(tmp_path):
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model("gpt2", n_embd=32, n_layer=1, n_head=2, vocab_size=97)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="no rotary embedding"):
        load_config_of_model(Config(model_name_or_path=str(tmp_path), rope_scaling="yarn"))
