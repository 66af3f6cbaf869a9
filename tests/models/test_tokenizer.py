"""Tokenizers load as they are, pad on the right, and always have a pad token."""

import json
import shutil

import pytest
from transformers import AutoTokenizer

from luthier.config import Config
from luthier.errors import ModelError
from luthier.models.tokenizer import load_tokenizer


@pytest.mark.parametrize("name", ["qwen3", "llama3.1", "deepseek-llm", "minimind"])
def test_ids_are_those_of_transformers(assets, name):
    folder = assets / "tokenizers" / name
    text = "Hello, 你好 <|im_end|> 1234\n"
    ours = load_tokenizer(Config(model_name_or_path="unused"), folder)
    assert ours(text).input_ids == AutoTokenizer.from_pretrained(folder)(text).input_ids
    assert ours.padding_side == "right"
    assert ours.pad_token_id is not None
    assert len(ours) == len(AutoTokenizer.from_pretrained(folder))


def copy(assets, tmp_path, **changes):
    folder = tmp_path / "tokenizer"
    shutil.copytree(assets / "models" / "stories260K", folder)
    folder.chmod(0o755)
    settings = folder / "tokenizer_config.json"
    settings.chmod(0o644)
    settings.write_text(json.dumps(json.loads(settings.read_text()) | changes))
    return folder


def test_the_end_of_text_pads_where_there_is_no_pad_token(assets, tmp_path):
    tokenizer = load_tokenizer(Config(), copy(assets, tmp_path, pad_token=None))
    assert tokenizer.pad_token == "</s>"


def test_the_unknown_token_pads_where_there_is_no_end_of_text(assets, tmp_path):
    tokenizer = load_tokenizer(Config(), copy(assets, tmp_path, pad_token=None, eos_token=None))
    assert tokenizer.pad_token == "<unk>"


def test_no_token_that_could_pad(assets, tmp_path):
    with pytest.raises(ModelError, match="neither pad, end-of-text nor unknown"):
        load_tokenizer(Config(), copy(assets, tmp_path, pad_token=None, eos_token=None, unk_token=None))


def test_no_tokenizer(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "qwen3"}')
    with pytest.raises(ModelError, match="has no tokenizer"):
        load_tokenizer(Config(), tmp_path)


def test_a_broken_tokenizer(assets, tmp_path):
    folder = copy(assets, tmp_path)
    (folder / "tokenizer.json").chmod(0o644)
    (folder / "tokenizer.json").write_text('{"version": ')
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_tokenizer(Config(), folder)
