"""GPTQ: the solver against its definition, the files against another reader, the whole export against the trained model."""

import json

import pytest
import torch

from luthier.errors import ConfigError, DataError, ExportError
from luthier.exporters.gptq_solve import solve
from luthier.workflows.export import export
from tests.exporters.quantised import STARTER, config_of, settings_of, starter_kl, unpacked_model

BITS = (2, 3, 4, 8)


def material(rows=64, columns=128, samples=600):
    """(weight, inputs) with inputs that depend on one another, as those of a model do."""
    torch.manual_seed(0)
    mixing = torch.randn(columns, columns) * 0.5 + torch.eye(columns)
    return torch.randn(rows, columns), torch.randn(samples, columns) @ mixing


@pytest.mark.parametrize("bits", BITS)
def test_with_the_identity_every_weight_goes_to_the_nearest(bits):
    weight, _ = material()
    rounded = solve(weight, torch.eye(128), bits=bits, group=32)
    scales = rounded.scales.float().repeat_interleave(32, 1)
    low, high = -(2 ** (bits - 1)) * scales, (2 ** (bits - 1) - 1) * scales
    inside = (weight >= low) & (weight <= high)
    assert ((rounded.weight - weight).abs() <= scales / 2 + 1e-5)[inside].all() and inside.float().mean() > 0.5
    torch.testing.assert_close(rounded.weight[~inside], torch.where(weight < low, low, high)[~inside])


@pytest.mark.parametrize("bits", BITS)
def test_the_outputs_are_nearer_than_those_of_rounding_to_the_nearest(bits):
    weight, inputs = material()
    plain = solve(weight, torch.eye(128), bits=bits, group=64).weight
    solved = solve(weight, inputs.T @ inputs / len(inputs), bits=bits, group=64).weight
    errors = [float(((each - weight) @ inputs.T).square().mean()) for each in (plain, solved)]
    assert errors[1] < 0.7 * errors[0]


def test_the_first_column_does_to_the_others_what_the_paper_says():
    """Equation 3 of the paper, written out: rounding column 0 moves the rest by -error * H^-1[0, rest] / H^-1[0, 0]."""
    weight, inputs = material(rows=4, columns=32)
    hessian = inputs.T @ inputs / len(inputs)
    rounded = solve(weight, hessian, bits=4, group=32)
    damped = hessian + 0.01 * hessian.diagonal().mean() * torch.eye(32)
    left, remaining, scales = weight.double(), torch.linalg.inv(damped.double()), rounded.scales.double()[:, 0]
    for column in range(32):
        code = (left[:, 0] / scales + 8).round().clamp(0, 15)
        same = rounded.codes[:, column].double() == code
        assert same.all(), column
        error = left[:, 0] - (code - 8) * scales
        left = (left - error[:, None] * remaining[None, 0] / remaining[0, 0])[:, 1:]
        remaining = (remaining - remaining[:, :1] @ remaining[:1] / remaining[0, 0])[1:, 1:]


def test_an_input_that_is_never_there_costs_nothing():
    weight, inputs = material(columns=32)
    inputs[:, 5] = 0
    assert (solve(weight, inputs.T @ inputs, bits=4, group=32).weight[:, 5] == 0).all()


@pytest.mark.parametrize("family", ["qwen2", "gemma3_text", "phi3"])
def test_a_folder_in_eight_bits_is_the_model_and_in_four_nearly(family_folder, texts, tmp_path, family, caplog):
    from transformers import AutoModelForCausalLM

    folder = family_folder(family)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    ids = torch.arange(5, 60)[None]
    with torch.no_grad():
        expected = model(ids).logits.log_softmax(-1)
    distances = {}
    for bits in (8, 4):
        out = export(config_of(folder, tmp_path / str(bits), texts, export_quantization_bit=bits))
        settings = settings_of(out)
        assert settings == json.loads((out / "quantize_config.json").read_text())
        assert (settings["bits"], settings["quant_method"], settings["group_size"]) == (bits, "gptq", 32)
        with torch.no_grad():
            distances[bits] = float((unpacked_model(out)[0](ids).logits.log_softmax(-1) - expected).abs().mean())
    assert distances[8] < 0.05 and distances[8] < distances[4]
    assert sum(file.stat().st_size for file in (tmp_path / "4").glob("*.safetensors")) < sum(
        file.stat().st_size for file in (tmp_path / "8").glob("*.safetensors")
    )
    assert "- gptq\n" in (tmp_path / "4" / "README.md").read_text()
    assert "template" in json.loads((tmp_path / "4" / "luthier.json").read_text()) and (tmp_path / "4" / "Modelfile").is_file()


def test_what_cannot_be_quantised_is_refused_and_nothing_is_left(family_folder, texts, tmp_path, assets):
    target = tmp_path / "out"
    with pytest.raises(ExportError, match=r"quantised files hold multiples of 32"):
        export(config_of(assets / "models" / "stories260K", target, texts, export_quantization_bit=4))
    short = tmp_path / "short.jsonl"
    short.write_text('{"text": "too little"}\n')
    with pytest.raises(DataError, match="Calibration needs some thousands"):
        export(config_of(family_folder("qwen2"), target, short, export_quantization_bit=4))
    assert not target.exists() and not list(tmp_path.glob(".out*"))


@pytest.mark.parametrize("keys", [{"export_quantization_bit": 4, "export_format": "gguf"}, {"export_format": "gptq"}])
def test_contradictions(keys, tmp_path):
    from luthier.config import load_config

    words = {"export_quantization_dataset": "x"} if "export_quantization_bit" in keys else {}
    with pytest.raises(ConfigError, match=r"export_gguf_type|needs export_quantization_dataset"):
        load_config({"model_name_or_path": "starter", "export_dir": str(tmp_path), "template": "qwen"} | keys | words)


@pytest.mark.slow
@pytest.mark.parametrize("bits", [4, 3])
def test_the_starter_changes_less_than_by_rounding(tmp_path, bits, monkeypatch, plain_starter):
    """KL (nats) of the next token from the trained model, on rows that calibrated nothing: less than by plain rounding."""
    from luthier.exporters import gptq

    plain = gptq.solve
    far = {}
    for name in ("gptq", "nearest"):
        if name == "nearest":
            monkeypatch.setattr(gptq, "solve", lambda w, h, **k: plain(w, torch.eye(len(h)), **k))
        out = export(config_of("starter", tmp_path / name, "general", export_quantization_bit=bits, **STARTER))
        far[name] = starter_kl(out, plain_starter)
    print(bits, far)
    assert 0 < far["gptq"] < far["nearest"]
