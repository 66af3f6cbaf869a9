"""The untrained starter: its shape and its tokenizer, without weights (pretrain.yaml draws them from its seed)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from transformers import AutoTokenizer, GenerationConfig, Qwen3Config

SHAPE = {
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 32,
    "max_position_embeddings": 4096,
    "rope_theta": 10000.0,
    "tie_word_embeddings": True,
}
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")


def write_blank(tokenizer_folder: Path, folder: Path) -> None:
    """config.json, generation_config.json and the tokenizer files."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    ids = {"bos_token_id": None, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    Qwen3Config(vocab_size=len(tokenizer), architectures=["Qwen3ForCausalLM"], **SHAPE, **ids).save_pretrained(folder)
    stops = [tokenizer.eos_token_id, tokenizer.pad_token_id]
    GenerationConfig(do_sample=False, eos_token_id=stops, pad_token_id=tokenizer.pad_token_id).save_pretrained(folder)
    copy_tokenizer(tokenizer_folder, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"dtype": "float32"}, indent=2) + "\n")


def copy_tokenizer(source: Path, folder: Path) -> None:
    for name in TOKENIZER_FILES:
        shutil.copy(source / name, folder / name)
