"""The direct way gives the model's own logits, whatever its layers hold; where it would not, the model's own way is taken."""

import pytest
import torch

from luthier.engines.direct import FAMILIES, Direct, fits
from luthier.engines.runner import Runner
from tests.conftest import make_tiny
from tests.engines.conftest import lively, random_prompts

SHAPES = {
    "llama": {"attention_bias": True, "mlp_bias": True, "num_key_value_heads": 4},
    "mistral": {"sliding_window": 7, "num_key_value_heads": 1},
    "qwen2": {"use_sliding_window": True, "sliding_window": 5, "max_window_layers": 1},
    "qwen3": {"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0}, "tie_word_embeddings": True},
}


def steps(model, *, direct, count=12, dtype=torch.float32):
    """Logits of prompts of several lengths and of `count` greedy tokens after them, (steps, rows, V); the tokens are given."""
    runner = Runner(model)
    runner.enter()
    cache = runner.make_cache()
    assert runner._direct is not None
    if not direct:
        runner._direct = None
    prompts, tokens = random_prompts(5, longest=9), random_prompts(count, longest=1, seed=2)
    lengths = [len(prompt) for prompt in prompts]
    found = [runner.forward(prompts, cache.begin_prefill(lengths), cache)]
    cache.end_prefill(lengths)
    for number, [token] in enumerate(tokens):
        mask = cache.begin_step()
        found.append(runner.forward([[token]] * 5, mask, cache, positions=[length + number for length in lengths]))
        cache.end_step()
    runner.leave()
    return torch.stack(found)


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_are_the_models_own(family):
    model = lively(make_tiny(family, **SHAPES[family]), 4)
    torch.testing.assert_close(steps(model, direct=True), steps(model, direct=False), atol=2e-4, rtol=1e-4)


def test_rounded_weights_are_rounded_in_the_same_places():
    model = lively(make_tiny("qwen3"), 3).to(torch.bfloat16)
    found, expected = steps(model, direct=True), steps(model, direct=False)
    assert (found - expected).abs().max() < 0.02 * expected.abs().max()


def test_an_adapter_that_was_added_later_is_seen():
    from peft import LoraConfig, get_peft_model

    model = lively(make_tiny("llama"))
    runner = Runner(model)
    runner.enter()
    runner.make_cache()
    runner.leave()
    tuned = get_peft_model(model, LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False)).eval()
    base = steps(model, direct=True)
    torch.testing.assert_close(steps(tuned, direct=True), steps(tuned, direct=False), atol=2e-4, rtol=1e-4)
    with tuned.disable_adapter():
        assert not torch.allclose(base, steps(tuned, direct=True), atol=0.1)


def test_what_does_not_fit_goes_its_own_way():
    assert not fits(make_tiny("gpt2", n_embd=32, n_head=4, n_layer=2))
    assert not fits(make_tiny("gemma2"))
    heard = make_tiny("qwen3")
    heard.model.layers[0].register_forward_hook(lambda *args: None)
    assert not fits(heard)


def test_mixed_precision_goes_its_own_way():
    runner = Runner(lively(make_tiny("qwen3")))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        runner.enter()
        runner.make_cache()
        assert runner._direct is None
        runner.leave()


def test_a_model_that_computes_something_else_is_found_out(monkeypatch):
    model = lively(make_tiny("qwen3"))
    layer = model.model.layers[0].mlp
    plain = layer.forward
    monkeypatch.setattr(layer, "forward", lambda x: 2 * plain(x))
    runner = Runner(model)
    runner.enter()
    runner.make_cache()
    assert runner._direct is None
    runner.leave()
    runner.enter()
    assert runner._direct is None


def test_nothing_of_the_model_is_kept_when_nobody_asks():
    runner = Runner(lively(make_tiny("qwen3")))
    runner.enter()
    runner.make_cache()
    assert isinstance(runner._direct, Direct)
    runner.leave()
    assert runner._direct is None
