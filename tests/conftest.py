"""Fixtures for all tests: real assets where they lie beside the repository, tiny models made on the spot."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--llamacpp-python", help="a Python that has llama-cpp-python, to load exported GGUFs with it")


@pytest.fixture(scope="session")
def assets() -> Path:
    """The folder of real tokenizers, models and datasets; the test is skipped where it is absent."""
    folder = ROOT.parent / "shared" / "assets"
    if not folder.is_dir():
        pytest.skip(f"the test material is not here: {folder.name}/ beside the repository")
    return folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests write no cache of the user who runs them."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def tiny_qwen3():
    """A random Qwen3 of 4 layers' shape that a CPU trains in milliseconds."""
    return make_tiny("qwen3")


def make_tiny(family: str, **overrides):
    """A random causal LM of a family (qwen3, llama, mistral, gemma2 ...), float32, seed 0, vocabulary 97."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    shape = {
        "vocab_size": 97,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": 256,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    torch.manual_seed(0)
    if "moe" in family or family == "mixtral":
        shape |= {"num_experts": 4, "num_local_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
    config = AutoConfig.for_model(family, **(shape | overrides))
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32)
