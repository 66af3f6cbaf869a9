"""Law 4, for every adapter of the table and its variants: step 0 == base; saved and loaded == saved; merged == attached;
what is frozen stays bit-identical."""

import pytest
import torch

from luthier.adapters import ADAPTERS
from luthier.errors import CheckpointError, ModelError
from tests.adapters.conftest import attach, logits, train
from tests.conftest import make_tiny

VARIANTS = {
    "full": {"finetuning_type": "full"},
    "freeze": {"finetuning_type": "freeze", "freeze_trainable_layers": 1},
    "freeze first": {"finetuning_type": "freeze", "freeze_trainable_layers": -1, "freeze_extra_modules": ["embed_tokens"]},
    "lora": {"finetuning_type": "lora"},
    "lora dropout": {"finetuning_type": "lora", "lora_dropout": 0.3, "lora_target": ["q_proj", "down_proj"]},
    "rslora": {"finetuning_type": "lora", "use_rslora": True, "lora_rank": 4},
    "dora": {"finetuning_type": "lora", "use_dora": True},
    "pissa": {"finetuning_type": "lora", "pissa_init": True, "lora_rank": 4},
    "pissa exact": {"finetuning_type": "lora", "pissa_init": True, "pissa_iter": -1, "use_rslora": True, "lora_rank": 4},
    "oft": {"finetuning_type": "oft", "oft_block_size": 8},
    "oft by rank": {"finetuning_type": "oft", "oft_rank": 4, "oft_block_size": 0},
    "lora and norms": {"finetuning_type": "lora", "additional_target": ["norm", "embed_tokens"]},
}
LORA = [name for name, keys in VARIANTS.items() if keys["finetuning_type"] in ("lora", "oft")]
ADDED = ("lora", "oft_", "base_layer", "modules_to_save")
"""Parts of the names of what adapters add."""


def test_every_member_of_the_table_is_tested():
    assert {keys["finetuning_type"] for keys in VARIANTS.values()} == set(ADAPTERS)


@pytest.mark.parametrize("name", VARIANTS)
def test_attached_it_says_what_the_base_says(name):
    _, net = attach(**VARIANTS[name])
    exact = "pissa" not in name and "oft" not in name  # W split into two matrices, or turned by an identity
    torch.testing.assert_close(logits(net), logits(make_tiny("qwen3")), rtol=0, atol=0 if exact else 1e-5)


@pytest.mark.parametrize("name", VARIANTS)
def test_what_learns_is_float32_and_changes(name):
    _, net = attach(**VARIANTS[name])
    before = {key: p.detach().clone() for key, p in net.named_parameters() if p.requires_grad}
    assert before
    assert {p.dtype for p in before.values()} == {torch.float32}
    train(net, steps=2)
    assert any(not torch.equal(before[key], p) for key, p in net.named_parameters() if key in before)


@pytest.mark.parametrize("name", VARIANTS)
def test_what_is_frozen_stays_bit_identical(name):
    _, net = attach(**VARIANTS[name])
    frozen = {key: p.detach().clone() for key, p in net.named_parameters() if not p.requires_grad}
    buffers = {key: b.clone() for key, b in net.named_buffers()}
    train(net)
    assert all(torch.equal(frozen[key], p) for key, p in net.named_parameters() if key in frozen)
    assert all(torch.equal(buffers[key], b) for key, b in net.named_buffers())
    assert bool(frozen) == (name != "full")


@pytest.mark.parametrize("name", VARIANTS)
def test_loaded_in_place_it_is_the_saved_one_bit_for_bit(name, tmp_path):
    adapter, net = attach(**VARIANTS[name])
    train(net)
    adapter.save(net, tmp_path)
    again, other = attach(**VARIANTS[name])
    again.load(other, tmp_path)
    assert torch.equal(logits(other), logits(net))
    learned = {key: p for key, p in net.named_parameters() if p.requires_grad}
    assert all(torch.equal(p, dict(other.named_parameters())[key]) for key, p in learned.items())


@pytest.mark.parametrize("name", VARIANTS)
def test_going_on_after_loading_is_as_never_having_stopped(name, tmp_path):
    adapter, net = attach(**VARIANTS[name])
    train(net)
    adapter.save(net, tmp_path)
    again, other = attach(**VARIANTS[name])
    again.load(other, tmp_path)
    for each in (net, other):
        torch.manual_seed(5)  # dropout
        train(each, steps=1)
    assert torch.equal(logits(other), logits(net))


@pytest.mark.parametrize("name", VARIANTS)
def test_merged_it_says_the_same_and_is_a_plain_model(name):
    adapter, net = attach(**VARIANTS[name])
    train(net)
    expected = logits(net)
    merged = adapter.merge(net)
    assert type(merged).__name__ == "Qwen3ForCausalLM"
    assert not [key for key, _ in merged.named_parameters() if any(word in key for word in ADDED)]
    torch.testing.assert_close(logits(merged), expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("name", VARIANTS)
def test_merged_and_saved_it_loads_as_any_model(name, tmp_path):
    from transformers import AutoModelForCausalLM

    adapter, net = attach(**VARIANTS[name])
    train(net)
    expected = logits(net)
    adapter.merge(net).save_pretrained(tmp_path)
    torch.testing.assert_close(logits(AutoModelForCausalLM.from_pretrained(tmp_path)), expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("name", LORA)
def test_a_saved_lora_on_a_fresh_base_says_the_same(name, saved):
    folder, net = saved(**VARIANTS[name])
    _, fresh = attach(adapter_name_or_path=[str(folder)], finetuning_type=VARIANTS[name]["finetuning_type"])
    torch.testing.assert_close(logits(fresh), logits(net), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", LORA)
def test_peft_alone_reads_what_is_saved(name, saved):
    from peft import PeftModel

    folder, net = saved(**VARIANTS[name])
    torch.testing.assert_close(logits(PeftModel.from_pretrained(make_tiny("qwen3"), folder)), logits(net), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", LORA)
def test_disabled_it_says_what_the_base_says_and_learns_on_afterwards(name):
    adapter, net = attach(**VARIANTS[name])
    train(net)
    tuned = logits(net)
    learning = [key for key, p in net.named_parameters() if p.requires_grad]
    with adapter.disabled(net):
        torch.testing.assert_close(logits(net), logits(make_tiny("qwen3")), rtol=0, atol=1e-5)
    assert torch.equal(logits(net), tuned)
    assert [key for key, p in net.named_parameters() if p.requires_grad] == learning


@pytest.mark.parametrize("name", ["full", "freeze"])
def test_where_the_base_is_gone_disabling_is_refused(name):
    adapter, net = attach(**VARIANTS[name])
    with pytest.raises(ModelError, match="changes the base model"):
        adapter.disabled(net)


@pytest.mark.parametrize("name", ["full", "lora", "pissa"])
def test_a_checkpoint_of_another_model_is_refused(name, tmp_path):
    adapter, net = attach(**VARIANTS[name])
    adapter.save(net, tmp_path)
    other, small = attach(make_tiny("qwen3", intermediate_size=40), **VARIANTS[name])
    with pytest.raises(CheckpointError):
        other.load(small, tmp_path)


@pytest.mark.parametrize("name", VARIANTS)
def test_answering_attaches_without_anything_that_learns(name, saved):
    keys = VARIANTS[name]
    if name in LORA:
        folder, _ = saved(**keys)
        keys = keys | {"adapter_name_or_path": [str(folder)]}
    from luthier.config import Config

    adapter = ADAPTERS[keys["finetuning_type"]](Config(model_name_or_path="tiny", **keys))
    net = adapter.attach(make_tiny("qwen3"), trainable=False)
    assert not any(p.requires_grad for p in net.parameters())
