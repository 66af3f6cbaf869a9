"""A small model on disk with a real tokenizer, and adapters for it."""

import json

import pytest


@pytest.fixture(scope="session")
def tiny_folder(assets, tmp_path_factory):
    """A random Qwen3 with a real 6,400-token tokenizer whose chat template thinks; it says something else to everything."""
    from transformers import AutoTokenizer

    from tests.conftest import make_tiny
    from tests.engines.conftest import lively

    folder = tmp_path_factory.mktemp("models") / "tiny"
    tokenizer = AutoTokenizer.from_pretrained(assets / "tokenizers" / "minimind")
    lively(make_tiny("qwen3", vocab_size=len(tokenizer), max_position_embeddings=512)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def adapters(tiny_folder, tmp_path_factory):
    """Two folders, each with a LoRA adapter of tiny_folder and the record of a training with the template qwen."""
    import torch

    from luthier.adapters import ADAPTERS
    from luthier.config import Config
    from luthier.models.load import load_model
    from luthier.models.tokenizer import load_tokenizer
    from luthier.templates import find_template

    folders = []
    for number in (1, 2):
        config = Config(model_name_or_path=str(tiny_folder), template="qwen")
        lora = ADAPTERS["lora"](config)
        net = lora.attach(load_model(config))
        torch.manual_seed(number)
        with torch.no_grad():
            for name, parameter in net.named_parameters():
                if "lora_B" in name:
                    parameter.normal_()
        folder = tmp_path_factory.mktemp("adapters") / f"tuned{number}"
        folder.mkdir()
        lora.save(net, folder)
        template = find_template(config, load_tokenizer(config))
        record = {"template": dict(template.describe()), "base_model": str(tiny_folder)}
        (folder / "luthier.json").write_text(json.dumps(record))
        folders.append(folder)
    return folders


@pytest.fixture
def dataset(tmp_path):
    """The path of six conversations in alpaca rows."""
    rows = [
        {"instruction": f"第{number}个问题：{'why? ' * number}", "input": "", "output": f"答案{number}"} for number in range(6)
    ]
    rows[3] |= {"system": "Be kind.", "history": [["Hi", "Hello!"]]}
    path = tmp_path / "six.json"
    path.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    return path
