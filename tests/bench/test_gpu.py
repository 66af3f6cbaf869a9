"""The GPU benchmark's tables and shapes; its proof on a CPU is a slow test."""

import subprocess
import sys

import pytest
from bench.gpu.measure import Measured, Setting
from bench.gpu.one import measure
from bench.gpu.sft import peak_flops, row_of
from bench.gpu.shapes import SHAPES, shape_config


def test_peaks_go_by_the_devices_name():
    assert peak_flops("NVIDIA H100 80GB HBM3") == 989e12
    assert peak_flops("NVIDIA H100 PCIe") == 756e12
    assert peak_flops("NVIDIA GeForce RTX 4090") == 165e12
    assert peak_flops("CPU") is None


def test_utilisation_is_4_n_a_token_as_published_figures_count():
    """12,473 tokens/s of 8.03e9 parameters: 400.6 TFLOP/s, 40.5 % of 989."""
    run = Measured(
        times=[0.0, 0.0, 1.0],
        tokens=[1, 1, 12_473],
        losses=[1.0] * 3,
        grad_norms=[1.0] * 3,
        parameters=8_030_000_000,
        peak_bytes=2**30,
    )
    assert row_of("x", [run], 989e12, 800e12) == ("x", "12,473", "40.5%", "50.1%", "1.0")
    assert row_of("x", [run, "out of memory"], 989e12, 800e12)[1] == "out of memory"


@pytest.mark.parametrize(("name", "parameters"), [("llama3.1-8b", 8_030_261_248), ("qwen3-0.6b", 596_049_920)])
def test_shapes_have_the_parameters_of_the_models_they_are_named_after(name, parameters):
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        assert AutoModelForCausalLM.from_config(shape_config(name)).num_parameters() == parameters


@pytest.mark.parametrize("kind", ["full", "chat"])
def test_both_sides_do_the_same_on_a_cpu(kind):
    ours, theirs = (
        measure(
            Setting(
                side=side,
                model="qwen3-0.6b",
                device="cpu",
                tiny=True,
                kind=kind,
                length=48,
                micro_rows=2,
                samples_per_step=4,
                steps=4,
            )
        )
        for side in ("luthier", "plain")
    )
    assert ours.tokens == theirs.tokens and ours.parameters == theirs.parameters
    assert ours.losses[0] == pytest.approx(theirs.losses[0], rel=1e-5)
    assert min(ours.grad_norms + theirs.grad_norms) > 0


@pytest.mark.slow
@pytest.mark.parametrize("model", SHAPES)
def test_the_script_proves_itself_on_a_cpu(model, tmp_path):
    command = [sys.executable, "-m", "bench.gpu.sft", "--device", "cpu", "--tiny", "--model", model, "--rounds", "1"]
    subprocess.run([*command, "--results", str(tmp_path)], check=True, timeout=600)
    assert "the same work" in (tmp_path / "gpu-tiny-full.md").read_text().lower()
