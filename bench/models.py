"""Random models on disk, Qwen3-shaped, with a real tokenizer: weights are random, every cost of a step is real.

    small   8 layers of 256, vocabulary 6,400 (the minimind tokenizer): 7.9M parameters
    large   the same body, vocabulary 151,936 (the Qwen3 tokenizer): 45.2M parameters, nearly all in the embedding
    wide-*  a body of 512, for the forecast: 28.5M and 103M parameters
    bare-*  next to no body: what a training needs besides the model

Enters: a name and the assets folder. Leaves: a model folder in float32, the same bytes at every call.
"""

from __future__ import annotations

import argparse
import shutil
from dataclasses import dataclass
from pathlib import Path

from bench.material import add_material_options, need


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """tokenizer: folder name in the assets.  vocab_size: rows of the embedding, as the tokenizer's own models have it."""

    tokenizer: str
    vocab_size: int
    hidden_size: int = 256
    intermediate_size: int = 768
    layers: int = 8
    heads: int = 8
    kv_heads: int = 4
    head_dim: int = 32


WIDE = {"hidden_size": 512, "intermediate_size": 1536, "head_dim": 64}
BARE = {"hidden_size": 16, "intermediate_size": 16, "layers": 2, "heads": 1, "kv_heads": 1, "head_dim": 16}

SHAPES = {
    "small": Shape(tokenizer="minimind", vocab_size=6_400),
    "large": Shape(tokenizer="qwen3", vocab_size=151_936),
    "wide-small": Shape(tokenizer="minimind", vocab_size=6_400, **WIDE),
    "wide-large": Shape(tokenizer="qwen3", vocab_size=151_936, **WIDE),
    "bare-small": Shape(tokenizer="minimind", vocab_size=6_400, **BARE),
    "bare-large": Shape(tokenizer="qwen3", vocab_size=151_936, **BARE),
    "tiny": Shape(
        tokenizer="minimind",
        vocab_size=6_400,
        hidden_size=64,
        intermediate_size=128,
        layers=2,
        heads=4,
        kv_heads=2,
        head_dim=16,
    ),
}


def make_model(name: str, assets: Path, work: Path) -> Path:
    """The folder of model `name`, made where it is not there yet."""
    folder = work / "models" / name
    if (folder / "model.safetensors").is_file():
        return folder
    import torch
    from transformers import AutoTokenizer, Qwen3Config, Qwen3ForCausalLM

    shape = SHAPES[name]
    source = need(assets / "tokenizers" / shape.tokenizer, f"the {shape.tokenizer} tokenizer")
    tokenizer = AutoTokenizer.from_pretrained(source)
    torch.manual_seed(0)
    model = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=shape.vocab_size,
            hidden_size=shape.hidden_size,
            intermediate_size=shape.intermediate_size,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            num_key_value_heads=shape.kv_heads,
            head_dim=shape.head_dim,
            max_position_embeddings=4096,
            tie_word_embeddings=True,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    ).float()
    for file in source.glob("*token*"):
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, folder / file.name)
    if (source / "chat_template.jinja").is_file():
        shutil.copyfile(source / "chat_template.jinja", folder / "chat_template.jinja")
    model.save_pretrained(folder)
    return folder


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.models", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=["small", "large"], help=f"of {', '.join(SHAPES)}")
    add_material_options(parser)
    options = parser.parse_args()
    for model_name in options.names:
        print(make_model(model_name, options.assets, options.work))
