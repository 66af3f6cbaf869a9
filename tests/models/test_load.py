"""Loading a model folder: what is right loads with every weight; each way of being broken has its own sentence."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from luthier.config import Config
from luthier.errors import ModelError
from luthier.models.load import load_config_of_model, load_model
from luthier.models.weights import check_weights
from tests.conftest import make_tiny


@pytest.fixture
def folder(tmp_path) -> Path:
    """A tiny Qwen3 as Hugging Face folders are."""
    make_tiny("qwen3").save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def load(folder: Path, **keys):
    return load_model(Config(model_name_or_path=str(folder), **keys), dtype=torch.float32)


def change_config(folder: Path, **values) -> None:
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(settings | values))


def test_weights_are_those_of_the_files(folder):
    stored = load_file(folder / "model.safetensors")
    loaded = load(folder).state_dict()
    assert stored.keys() <= loaded.keys()
    assert all(torch.equal(tensor, loaded[name]) for name, tensor in stored.items())


def test_a_real_model_gives_the_logits_that_transformers_gives(assets):
    folder = assets / "models" / "stories260K"
    ids = torch.arange(3, 60)[None]
    theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)(ids).logits
    torch.testing.assert_close(load(folder)(ids).logits, theirs, rtol=0, atol=1e-5)


def test_training_and_answering_modes(folder):
    config = Config(model_name_or_path=str(folder))
    assert load_model(config, for_training=True).training
    assert not load_model(config).training


def test_dtype_none_keeps_what_is_stored(folder):
    make_tiny("qwen3").bfloat16().save_pretrained(folder)
    assert load_model(Config(model_name_or_path=str(folder))).dtype == torch.bfloat16
    assert load(folder).dtype == torch.float32


def test_from_scratch_has_the_shapes_but_not_the_weights(folder):
    torch.manual_seed(1)
    fresh = load(folder, train_from_scratch=True)
    stored = load(folder)
    assert [p.shape for p in fresh.parameters()] == [p.shape for p in stored.parameters()]
    assert not torch.equal(fresh.get_input_embeddings().weight, stored.get_input_embeddings().weight)
    torch.manual_seed(1)
    again = load(folder, train_from_scratch=True)
    assert all(torch.equal(a, b) for a, b in zip(fresh.parameters(), again.parameters()))


@pytest.mark.parametrize(("key", "implementation"), [("disabled", "eager"), ("sdpa", "sdpa"), ("fa2", "sdpa")])
def test_attention_follows_flash_attn(folder, key, implementation):
    assert load(folder, flash_attn=key).config._attn_implementation == implementation


def test_no_config_json(folder):
    (folder / "config.json").unlink()
    with pytest.raises(ModelError, match=r"config\.json is missing"):
        load(folder)


def test_an_adapter_given_as_a_model(tmp_path):
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelError, match="holds an adapter"):
        load(tmp_path)


def test_config_json_that_is_no_json_or_no_mapping(folder):
    (folder / "config.json").write_text("{")
    with pytest.raises(ModelError, match="not valid JSON"):
        load(folder)
    (folder / "config.json").write_text("[1]")
    with pytest.raises(ModelError, match="not a mapping"):
        load(folder)


def test_an_architecture_nobody_knows(folder):
    change_config(folder, model_type="qwen99")
    with pytest.raises(ModelError, match=r"qwen99.*unknown to transformers"):
        load(folder)


def test_code_in_the_repository_is_not_run_unasked(folder):
    change_config(folder, model_type="odd", auto_map={"AutoConfig": "odd.Odd", "AutoModelForCausalLM": "odd.OddModel"})
    (folder / "odd.py").write_text("raise SystemExit('this code ran')")
    with pytest.raises(ModelError, match="trust_remote_code"):
        load(folder)


def test_a_model_that_writes_no_text(folder):
    (folder / "config.json").write_text(json.dumps({"model_type": "vit"}))
    with pytest.raises(ModelError, match="does not generate text"):
        load(folder)


def test_no_weights(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="has no weights"):
        load(folder)


def test_a_cut_download(folder):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ModelError, match=r"model\.safetensors is broken"):
        load(folder)


def test_a_missing_shard_is_named(folder):
    (folder / "model.safetensors").unlink()
    make_tiny("qwen3").save_pretrained(folder, max_shard_size="20KB")
    shards = sorted(folder.glob("model-*.safetensors"))
    assert len(shards) > 2
    shards[1].unlink()
    with pytest.raises(ModelError, match=shards[1].name):
        load(folder)


def test_a_weight_that_is_missing_would_have_stayed_random(folder):
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.layers.0.mlp.up_proj.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"lacks weights.*model\.layers\.0\.mlp\.up_proj\.weight"):
        load(folder)


def test_weights_of_another_size_are_told_with_both_shapes(folder):
    change_config(folder, intermediate_size=64)
    with pytest.raises(ModelError, match=r"\[48, 32\] in the files.*\[64, 32\]|\[32, 48\] in the files.*\[32, 64\]"):
        load(folder)


def test_pickles_are_read_only_where_the_user_trusts_them(folder):
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="pickle"):
        load(folder)
    assert check_weights(folder, allow_pickle=True) is False
    assert load(folder, trust_remote_code=True).dtype == torch.float32


def test_only_the_config_is_read_for_the_config(folder):
    (folder / "model.safetensors").unlink()
    assert load_config_of_model(Config(model_name_or_path=str(folder))).hidden_size == 32


def test_no_model_given():
    with pytest.raises(ModelError, match="no model is given"):
        load_model(Config())


def test_nothing_is_printed(folder, capfd):
    load(folder)
    shutil.rmtree(folder)
    assert capfd.readouterr().err == ""
