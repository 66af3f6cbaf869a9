"""LoRA: its arithmetic by hand, the keys, several adapters, and adapters that do not belong here."""

import json
import logging

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

from luthier.adapters import ADAPTERS
from luthier.adapters.lora_layer import LoraLinear
from luthier.config import Config
from luthier.errors import ConfigError, ModelError
from tests.adapters.conftest import IDS, attach, logits, train
from tests.conftest import make_tiny

ALL = ["down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"]


def layers(net):
    return {name: module for name, module in net.named_modules() if isinstance(module, LoraLinear)}


def test_the_layer_is_w_x_plus_s_b_a_x():
    """alpha 6, rank 3: s = 2; y = W x + 2 B (A x)."""
    _, net = attach(lora_rank=3, lora_alpha=6)
    layer = next(iter(layers(net).values()))
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    torch.nn.init.normal_(b)
    x = torch.randn(2, 5, a.shape[1])
    torch.testing.assert_close(layer(x), x @ layer.base_layer.weight.T + 2 * (x @ a.T) @ b.T, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dropout", [0.0, 0.4])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_law_6_the_lean_layer_is_pefts(dropout, checkpointing):
    """Loss and every gradient, over two steps, equal those of a net of peft's own layers."""
    _, ours = attach(lora_dropout=dropout)
    settings = LoraConfig(task_type="CAUSAL_LM", r=8, lora_alpha=16, lora_dropout=dropout, target_modules=ALL)
    base = make_tiny("qwen3")
    torch.manual_seed(0)
    theirs = get_peft_model(base, settings)
    assert layers(ours)
    assert not layers(theirs)
    for net in (ours, theirs):
        net.train()
        if checkpointing:
            net.get_base_model().gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    for step in range(2):
        losses, gradients = [], []
        for net in (ours, theirs):
            torch.manual_seed(step)
            loss = net(input_ids=IDS, labels=IDS, use_cache=False).loss
            loss.backward()
            losses.append(loss.detach())
            gradients.append({name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None})
            torch.optim.SGD([p for p in net.parameters() if p.requires_grad], 0.5).step()
            net.zero_grad()
        torch.testing.assert_close(losses[0], losses[1], rtol=0, atol=1e-6)
        assert gradients[0].keys() == gradients[1].keys()
        for name in gradients[0]:
            torch.testing.assert_close(gradients[0][name], gradients[1][name], rtol=1e-4, atol=1e-6)


def test_under_autocast_the_lean_layer_gives_what_peft_gives_within_bfloat16():
    _, ours = attach()
    train(ours)
    theirs = get_peft_model(make_tiny("qwen3"), LoraConfig(task_type="CAUSAL_LM", r=8, lora_alpha=16, target_modules=ALL))
    theirs.load_state_dict(ours.state_dict())
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(logits(ours), logits(theirs), rtol=0, atol=0.05)


def test_defaults_are_every_linear_layer_but_the_head_and_alpha_twice_the_rank():
    _, net = attach()
    settings = net.peft_config["default"]
    assert (sorted(settings.target_modules), settings.r, settings.lora_alpha) == (ALL, 8, 16)
    assert len(layers(net)) == 2 * len(ALL)
    assert not [name for name in layers(net) if "lm_head" in name]


@pytest.mark.parametrize(
    ("target", "count"),
    [
        (["q_proj", "v_proj"], 4),
        (["layers.1.mlp.up_proj"], 1),
        ([r".*layers\.0\.(self_attn|mlp)\..*_proj"], 7),
        (["all", "q_proj"], 14),
    ],
)
def test_targets_by_name_path_and_pattern(target, count):
    _, net = attach(lora_target=target)
    assert len(layers(net)) == count


@pytest.mark.parametrize("target", [["query"], [r".*\.attention\..*"], ["q_prj"]])
def test_a_target_that_matches_nothing_lists_what_there_is(target):
    with pytest.raises(ConfigError, match="matches no layer") as caught:
        attach(lora_target=target)
    assert "gate_proj" in str(caught.value)


def test_one_of_several_targets_that_matches_nothing_is_said(caplog):
    with caplog.at_level(logging.WARNING, "luthier"):
        _, net = attach(lora_target=["q_proj", "W_pack"])
    assert len(layers(net)) == 2
    assert "W_pack" in caplog.text


def test_a_head_that_is_asked_for_learns_in_full():
    _, net = attach(model=make_tiny("qwen3", tie_word_embeddings=False), additional_target=["lm_head"])
    learning = [name for name, p in net.named_parameters() if p.requires_grad and "lora_" not in name]
    assert learning == ["base_model.model.lm_head.modules_to_save.default.weight"]


def test_a_bfloat16_base_keeps_its_weights_and_learns_in_float32():
    _, net = attach(model=make_tiny("qwen3").bfloat16())
    assert {p.dtype for name, p in net.named_parameters() if "lora_" in name} == {torch.float32}
    assert {p.dtype for name, p in net.named_parameters() if "lora_" not in name} == {torch.bfloat16}
    _, pure = attach(model=make_tiny("qwen3").bfloat16(), pure_bf16=True)
    assert {p.dtype for p in pure.parameters()} == {torch.bfloat16}


def test_merging_into_bfloat16_rounds_once(saved):
    """(W + s B A) in float32, rounded: bit for bit."""
    folder, _ = saved()
    _, net = attach(model=make_tiny("qwen3").bfloat16(), adapter_name_or_path=[str(folder)])
    name, layer = next(iter(layers(net).items()))
    update = layer.scaling["default"] * layer.lora_B["default"].weight @ layer.lora_A["default"].weight
    expected = (layer.base_layer.weight.float() + update).bfloat16()
    merged = ADAPTERS["lora"](Config()).merge(net)
    assert torch.equal(merged.get_submodule(name.removeprefix("base_model.model.")).weight, expected)


def test_the_saved_files_are_pefts_and_name_the_base(saved):
    folder, net = saved()
    assert {path.name for path in folder.iterdir()} == {"adapter_config.json", "adapter_model.safetensors"}
    settings = json.loads((folder / "adapter_config.json").read_text())
    assert (settings["peft_type"], settings["r"], settings["base_model_name_or_path"]) == ("LORA", 8, "tiny")
    assert net.peft_config["default"].inference_mode is False  # saving does not stop the training


# ---- adapters that are given -----------------------------------------------------------------------------------------


def test_an_adapter_goes_on_learning(saved):
    folder, net = saved()
    _, further = attach(adapter_name_or_path=[str(folder)])
    assert torch.equal(logits(further), logits(net))
    before = logits(further)
    train(further, steps=1)
    assert not torch.equal(logits(further), before)


def test_all_but_the_last_adapter_become_part_of_the_base(saved):
    """base + first + second: the second was trained on base + first."""
    first, net = saved("first")
    second, both = saved("second", steps=2, model=ADAPTERS["lora"](Config()).merge(net))
    adapter, attached = attach(adapter_name_or_path=[str(first), str(second)])
    torch.testing.assert_close(logits(attached), logits(both), rtol=0, atol=2e-5)
    with adapter.disabled(attached):
        _, base_and_first = attach(adapter_name_or_path=[str(first)])
        torch.testing.assert_close(logits(attached), logits(base_and_first), rtol=0, atol=2e-5)
    torch.testing.assert_close(logits(adapter.merge(attached)), logits(both), rtol=0, atol=3e-5)


def test_create_new_adapter_merges_the_given_one_and_starts_at_zero(saved):
    folder, net = saved()
    _, fresh = attach(adapter_name_or_path=[str(folder)], create_new_adapter=True, lora_rank=2)
    assert fresh.peft_config["default"].r == 2
    torch.testing.assert_close(logits(fresh), logits(net), rtol=0, atol=2e-5)


def test_keys_that_the_given_adapter_overrules_are_said(saved, caplog):
    folder, _ = saved()
    with caplog.at_level(logging.WARNING, "luthier"):
        _, net = attach(adapter_name_or_path=[str(folder)], lora_rank=32)
    assert net.peft_config["default"].r == 8
    assert "lora_rank" in caplog.text
    assert "create_new_adapter" in caplog.text


@pytest.mark.parametrize(
    ("family", "shape", "said"),
    [
        ("qwen3", {"hidden_size": 64}, r"has 64 values (in|out), the adapter expects 32"),
        ("qwen3", {"intermediate_size": 40}, "40 values"),
        ("qwen3", {"num_hidden_layers": 1}, r"this model has no model\.layers\.1"),
        ("phi3", {}, "this model has no"),
    ],
)
def test_an_adapter_of_another_model_is_refused_with_both_names_and_the_first_difference(saved, family, shape, said):
    folder, _ = saved()
    adapter = ADAPTERS["lora"](Config(model_name_or_path="other", adapter_name_or_path=[str(folder)]))
    with pytest.raises(ModelError, match=said) as caught:
        adapter.attach(make_tiny(family, **shape))
    assert "trained on tiny and does not fit other" in str(caught.value)


def test_an_adapter_that_fits_but_was_trained_on_another_name_is_said(saved, caplog):
    folder, _ = saved()
    with caplog.at_level(logging.WARNING, "luthier"):
        ADAPTERS["lora"](Config(model_name_or_path="other", adapter_name_or_path=[str(folder)])).attach(make_tiny("qwen3"))
    assert "tiny" in caplog.text
    assert "other" in caplog.text


def test_a_broken_adapter(saved):
    folder, _ = saved()
    weights = folder / "adapter_model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-10])
    with pytest.raises(ModelError, match="is broken"):
        attach(adapter_name_or_path=[str(folder)])
    weights.unlink()
    with pytest.raises(ModelError, match=r"has no adapter_model\.safetensors"):
        attach(adapter_name_or_path=[str(folder)])
    weights.write_bytes(whole)
    (folder / "adapter_config.json").write_text("{")
    with pytest.raises(ModelError, match="not valid JSON"):
        attach(adapter_name_or_path=[str(folder)])


def test_no_adapter_to_answer_with():
    with pytest.raises(ModelError, match="no adapter is given"):
        ADAPTERS["lora"](Config(model_name_or_path="tiny")).attach(make_tiny("qwen3"), trainable=False)


# ---- PiSSA -----------------------------------------------------------------------------------------------------------


def test_pissa_starts_from_the_main_singular_vectors():
    """s B0 A0 is the best approximation of W of that rank: the rest has the singular values that come after them."""
    _, net = attach(pissa_init=True, pissa_iter=-1, lora_rank=3)
    name, layer = next(iter(layers(net).items()))
    whole = make_tiny("qwen3").get_submodule(name.removeprefix("base_model.model.")).weight
    rest = torch.linalg.svdvals(layer.base_layer.weight)
    torch.testing.assert_close(rest[:5], torch.linalg.svdvals(whole)[3:8], rtol=1e-4, atol=1e-5)


def test_a_pissa_file_is_an_ordinary_lora_of_twice_the_rank(saved):
    folder, _ = saved(pissa_init=True, lora_rank=3, lora_alpha=6)
    settings = json.loads((folder / "adapter_config.json").read_text())
    assert (settings["r"], settings["lora_alpha"], settings["init_lora_weights"]) == (6, 12, True)
    shapes = {name.rsplit(".", 2)[1]: tuple(t.shape) for name, t in load_file(folder / "adapter_model.safetensors").items()}
    assert shapes["lora_A"][0] == shapes["lora_B"][1] == 6


def test_pissa_resumes_even_where_the_decomposition_came_out_otherwise(saved):
    """The file's A0 and B0 win over those of this machine: turned in sign here, as another library may."""
    folder, net = saved(pissa_init=True, lora_rank=3)
    weights = folder / "adapter_model.safetensors"
    state = load_file(weights)
    for name, tensor in state.items():
        half = tensor[3:] if "lora_A" in name else tensor[:, 3:]  # A0, and -B0
        half *= -1
    save_file(state, weights, metadata={"format": "pt"})
    adapter, other = attach(pissa_init=True, lora_rank=3)
    adapter.load(other, folder)
    torch.testing.assert_close(logits(other), logits(net), rtol=0, atol=1e-5)
    with adapter.disabled(other):
        torch.testing.assert_close(logits(other), logits(make_tiny("qwen3")), rtol=0, atol=1e-5)
