"""FP8 and int8: rounding by its definition, the folder as compressed-tensors' own reader computes with it, what is refused."""

import json
from typing import get_args

import pytest
import torch

from luthier.config import Config, load_config
from luthier.errors import ConfigError, ExportError
from luthier.exporters import EXPORTERS
from luthier.exporters.eight_bits import EightBits
from luthier.exporters.quantized import read_tensors
from luthier.workflows.export import export
from tests.exporters.quantised import settings_of, starter_kl, unpacked_model

FORMATS = {"fp8": torch.float8_e4m3fn, "int8": torch.int8}


def config_of(folder, target, name, **keys):
    return Config(model_name_or_path=str(folder), export_dir=str(target), template="chatml", export_format=name, **keys)


@pytest.mark.parametrize("name", FORMATS)
def test_every_number_goes_to_the_nearest_of_its_row(name):
    """The nearest of all codes times the row's scale, by trying them all."""
    rows = torch.randn(5, 48, generator=torch.Generator().manual_seed(0)) * torch.tensor([1e-3, 1, 30, 0, 7])[:, None]
    codes, scales = EXPORTERS[name](Config()).round_rows(rows)
    assert codes.dtype == FORMATS[name] and scales.shape == (5, 1) and scales.dtype == torch.float32
    every = torch.arange(256, dtype=torch.uint8).view(FORMATS[name]).float()
    every = every[every.isfinite()]
    nearest = (every[None, None] * scales[..., None] - rows[..., None]).abs().amin(-1)
    torch.testing.assert_close((codes.float() * scales - rows).abs(), nearest, atol=1e-6, rtol=1e-4)
    largest = rows.abs().argmax(1)[[0, 1, 2, 4]]
    assert set(codes.float().abs()[[0, 1, 2, 4], largest].tolist()) == {float(every.max())}
    assert (codes.float()[3] == 0).all()


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("family", ["qwen2", "gemma3_text", "phi3"])
def test_the_folder_is_read_as_it_was_meant(family_folder, tmp_path, family, name):
    """By compressed-tensors through transformers, which rounds what enters a layer too: the same weights and logits."""
    from transformers import AutoModelForCausalLM

    folder = family_folder(family)
    out = export(config_of(folder, tmp_path / "out", name))
    settings = settings_of(out)
    assert settings["format"] == f"{'float' if name == 'fp8' else 'int'}-quantized" and settings["ignore"] == ["lm_head"]
    packed = {key for key, tensor in read_tensors(out).items() if tensor.dtype == FORMATS[name]}
    assert packed and all(".layers." in key and key.endswith("_proj.weight") for key in packed)
    proof = json.loads((out / "luthier.json").read_text())["exported"]["proof"]["kl_divergence"]
    assert f"KL divergence of the next token {proof:.2g} nats" in (out / "README.md").read_text()
    ours, exporter = unpacked_model(out)
    ids = torch.arange(5, 60)[None]
    exporter.as_served(ours)
    with torch.no_grad():
        meant = ours(ids).logits.log_softmax(-1)
        trained = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)(ids).logits.log_softmax(-1)
    assert 0 < kl(trained, meant) < 0.01

    pytest.importorskip("compressed_tensors")
    theirs = AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32).eval()
    with torch.no_grad():
        read = theirs(ids).logits.log_softmax(-1)
    state = theirs.state_dict()
    for key in packed:
        torch.testing.assert_close(state[key].float(), ours.state_dict()[key], atol=0, rtol=0)
    # vLLM makes the largest of a token 127, this reader 127.5; both stay within the 8 bits
    assert kl(read, meant) <= (1e-6 if name == "fp8" else 5e-4)


def kl(p, q):
    return float((p.exp() * (p - q)).sum(-1).mean())


def test_files_that_say_something_else_are_refused_and_nothing_is_left(family_folder, tmp_path, monkeypatch):
    plain = EightBits.unpack
    monkeypatch.setattr(EightBits, "unpack", lambda self, tensors: plain(self, tensors).roll(1, 0))
    with pytest.raises(ExportError, match=r"is \S+ nats \(KL\) from the trained one, more than the 0.1 that 8 bits explain"):
        export(config_of(family_folder("qwen2"), tmp_path / "out", "fp8"))
    assert not any(path.name.endswith("out") for path in tmp_path.iterdir())


def test_widths_that_no_kernel_takes_are_refused_before_anything_is_read(assets, tmp_path):
    with pytest.raises(ExportError, match=r"is 172 x 64; .* multiples of 16\.\s+Export it as safetensors, or as gguf"):
        export(config_of(assets / "models" / "stories260K", tmp_path / "out", "int8"))
    with pytest.raises(ExportError, match="quantised files are safetensors"):
        export(config_of(assets / "models" / "stories260K", tmp_path / "out", "int8", export_legacy_format=True))


def test_an_unknown_format_is_refused_with_those_there_are(tmp_path):
    with pytest.raises(ConfigError) as found:
        load_config({"model_name_or_path": "starter", "export_dir": str(tmp_path), "export_format": "fp4"})
    assert all(f"{name}" in str(found.value) for name in EXPORTERS)
    assert set(get_args(Config.model_fields["export_format"].annotation)) == set(EXPORTERS)


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_the_starter_says_nearly_the_same(tmp_path, name, plain_starter):
    out = export(Config(model_name_or_path="starter", export_dir=str(tmp_path / name), export_format=name))
    far = starter_kl(out, plain_starter)
    print(name, far)
    assert 0 < far < 0.01
