"""Random models of every family with real tokenizers, on disk; llama.cpp itself, where it is installed."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

FAMILIES = ("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "phi3")

EXTRA = {
    "gemma2": {"query_pre_attn_scalar": 8, "sliding_window": 16},
    "gemma3_text": {"query_pre_attn_scalar": 8, "sliding_window": 16, "num_hidden_layers": 7},
    "gemma": {},
    "phi3": {"original_max_position_embeddings": 256},
    "mistral": {"sliding_window": None},
}


@pytest.fixture(scope="session")
def family_folder(assets, tmp_path_factory):
    """(family, tokenizer) -> the folder of a random model whose answers differ from prompt to prompt."""
    made = {}

    def make(family, words="minimind", **more):
        key = json.dumps([family, words, more], sort_keys=True)
        if key not in made:
            from transformers import AutoTokenizer

            from tests.conftest import make_tiny
            from tests.engines.conftest import lively

            tokenizer = AutoTokenizer.from_pretrained(assets / "tokenizers" / words)
            shape = {"tie_word_embeddings": family.startswith("gemma") or family == "qwen2"}
            shape |= {"hidden_size": 64, "head_dim": 16, "intermediate_size": 96}
            shape |= {"max_position_embeddings": 256, "vocab_size": len(tokenizer) + 3} | EXTRA.get(family, {}) | more
            if "query_pre_attn_scalar" in shape:
                shape["query_pre_attn_scalar"] = shape["head_dim"]
            folder = tmp_path_factory.mktemp("families") / family
            model = lively(make_tiny(family, **shape), factor=4)
            _shake(model)
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
            made[key] = folder
        return made[key]

    return make


def _shake(model):
    """Norms and biases that are not all one and nothing, so that a wrong one shows."""
    import torch

    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(torch.randn_like(parameter) * 0.1)


@pytest.fixture(scope="session")
def texts(tmp_path_factory):
    """A file to calibrate with."""
    file = tmp_path_factory.mktemp("texts") / "texts.jsonl"
    file.write_text("\n".join(json.dumps({"text": f"Line {n} tells of {n * 7} things. " * 4}) for n in range(60)))
    return file


@pytest.fixture(scope="session")
def plain_starter(tmp_path_factory):
    """The starter as a folder of full weights."""
    from luthier.config import Config
    from luthier.workflows.export import export

    return export(Config(model_name_or_path="starter", export_dir=str(tmp_path_factory.mktemp("starter") / "plain")))


@pytest.fixture(scope="session")
def llamacpp(request):
    """ask(file, prompts, texts, new_tokens, stops, lora, logits) -> {"answers", "logits", "words"}, by llama.cpp.

    stops: ids that end an answer, and are its last.  logits: of how many prompts, from the first.
    """
    python = request.config.getoption("--llamacpp-python") or (sys.executable if find_spec("llama_cpp") else None)
    if python is None:
        pytest.skip("llama-cpp-python is not installed here; give the Python that has it: --llamacpp-python PATH")

    def ask(file, prompts, texts=(), new_tokens=16, stops=(), lora=None, logits=10):
        wish = {"model": str(file), "prompts": prompts, "texts": texts, "new_tokens": new_tokens, "stops": list(stops)}
        wish |= {"lora": lora and str(lora), "logits": logits}
        program = Path(__file__).with_name("ask_llamacpp.py")
        done = subprocess.run(
            [python, str(program)], input=json.dumps(wish), capture_output=True, text=True, check=False, timeout=300
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return json.loads(done.stdout)

    return ask
