"""AWQ: rounding by its definition, scales that change no function, the files by another reader, the whole against rounding."""

import pytest
import torch

from luthier.config import load_config
from luthier.errors import ConfigError
from luthier.exporters import awq, awq_scale
from luthier.exporters.awq_round import round_groups
from luthier.exporters.awq_scale import best_scale, scale_inputs
from luthier.exporters.quantized import read_tensors
from luthier.exporters.walk import walk
from luthier.workflows.export import export
from tests.exporters.quantised import STARTER, config_of, settings_of, starter_kl, unpacked_model
from tests.packing.test_awq import by_compressed_tensors


def material(outputs=64, inputs=128, samples=600):
    """(weight, what enters it: a few inputs are a hundred times larger than the others, as in language models)."""
    torch.manual_seed(0)
    entering = torch.randn(samples, inputs)
    entering[:, ::16] *= 100
    return torch.randn(outputs, inputs), entering


def test_every_weight_goes_to_the_nearest_step_of_its_group():
    """By trying all 16 steps (code - zero) * scale; they reach from one end of the group to the other, nearly."""
    weight, _ = material(inputs=96)
    rounded = round_groups(weight, 32)
    steps = (torch.arange(16)[None, None] - rounded.zeros[..., None].float()) * rounded.scales[..., None].float()
    parts = weight.reshape(64, 3, 32)
    nearest = (parts[..., None] - steps[:, :, None]).abs().amin(-1)
    torch.testing.assert_close((rounded.weight.reshape(64, 3, 32) - parts).abs(), nearest, atol=1e-5, rtol=0)
    assert (nearest <= rounded.scales[..., None]).all()
    one_sided = round_groups(torch.full((32, 32), 3.0), 32)
    torch.testing.assert_close(one_sided.weight, torch.full((32, 32), 3.0), atol=2e-3, rtol=0)
    assert (round_groups(torch.zeros(32, 32), 32).weight == 0).all()


def test_drawing_the_ends_in_brings_nearer_what_matters():
    weight, entering = material()
    importance = entering.square().mean(0)
    errors = [((round_groups(weight, 64, each).weight - weight).square() * importance).sum(1) for each in (None, importance)]
    assert (errors[1] <= errors[0]).all() and errors[1].sum() < 0.9 * errors[0].sum()


def test_the_scale_is_the_best_of_the_papers_grid():
    """Equation 4 computed with the samples themselves, for every alpha of equation 5."""
    weight, entering = material()
    linear = torch.nn.Linear(128, 64, bias=False)
    linear.weight.data = weight
    scale = best_scale([linear], entering.T @ entering / len(entering), 64)

    def error(scale):
        return float(((round_groups(weight * scale, 64).weight @ (entering / scale).T) - weight @ entering.T).square().sum())

    magnitude = entering.square().mean(0).sqrt()
    grid = [error(magnitude ** (step / 20)) for step in range(20)]
    assert error(scale) == pytest.approx(min(grid), rel=0.02)
    assert error(scale) < 0.3 * error(torch.ones(128))


# queries, keys and values share their heads in all but phi3 and gemma here: what follows attention is scaled in those alone
@pytest.mark.parametrize(
    ("family", "more", "scaled"),
    [("llama", {}, 3), ("qwen2", {}, 3), ("gemma3_text", {}, 3), ("phi3", {}, 3), ("phi3", {"num_key_value_heads": 4}, 4),
     ("mistral", {"num_key_value_heads": 4}, 4)],
)  # fmt: skip
def test_scaling_changes_no_function(family_folder, family, more, scaled):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(family_folder(family, **more), dtype=torch.float32).eval()
    ids = torch.arange(5, 60)[None]
    before, weights = model(ids).logits, {name: value.clone() for name, value in model.state_dict().items()}
    with torch.no_grad():
        for layer, run, states in walk(model, [list(range(5, 37)), list(range(40, 72))]):
            assert [is_scaled for _, _, is_scaled in scale_inputs(layer, run, states, 32)].count(True) == scaled
        after = model(ids).logits
    torch.testing.assert_close(after, before, atol=2e-3, rtol=2e-3)
    assert sum(not torch.equal(weights[name], value) for name, value in model.state_dict().items()) > scaled


@pytest.mark.parametrize("family", ["qwen2", "gemma3_text", "phi3"])
def test_a_folder_in_four_bits_is_nearly_the_model(family_folder, texts, tmp_path, family):
    out = export(config_of(family_folder(family), tmp_path / "out", texts, export_format="awq"))
    settings = settings_of(out)
    assert (settings["bits"], settings["group_size"], settings["version"], settings["zero_point"]) == (4, 32, "gemm", True)
    assert settings["modules_to_not_convert"] == ["lm_head"]
    tensors, model = read_tensors(out), unpacked_model(out)[0]
    packed = [name.removesuffix(".qweight") for name in tensors if name.endswith(".qweight")]
    assert packed
    pytest.importorskip("compressed_tensors")
    for name in packed:
        weight = by_compressed_tensors(tensors, name, 32)
        torch.testing.assert_close(weight, model.state_dict()[f"{name}.weight"], atol=0, rtol=0)


def test_contradictions(tmp_path):
    words = {"model_name_or_path": "starter", "export_dir": str(tmp_path), "export_format": "awq"}
    with pytest.raises(ConfigError, match="needs export_quantization_dataset"):
        load_config(words)
    with pytest.raises(ConfigError, match="awq has 4"):
        load_config(words | {"export_quantization_dataset": "x", "export_quantization_bit": 4})


@pytest.mark.slow
def test_the_starter_changes_less_than_by_rounding(tmp_path, monkeypatch, plain_starter):
    """KL (nats) of the next token from the trained model, on rows that calibrated nothing: less than by plain rounding."""
    far = {}
    for name in ("awq", "nearest"):
        if name == "nearest":
            monkeypatch.setattr(awq_scale, "find_divider", lambda *_: None)
            monkeypatch.setattr(awq, "round_groups", lambda weight, group, importance: round_groups(weight, group))
        out = export(config_of("starter", tmp_path / name, "general", export_format="awq", **STARTER))
        assert settings_of(out)["group_size"] == 128
        far[name] = starter_kl(out, plain_starter)
    print(far)
    assert 0 < far["awq"] < 0.8 * far["nearest"]
