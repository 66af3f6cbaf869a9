"""New tokens: add_tokens, add_special_tokens and new_special_tokens_config, and rows of the embeddings to learn them in."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import TYPE_CHECKING

from luthier.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from luthier.config import Config

log = logging.getLogger(__name__)

ROWS_OF = 64
"""Embeddings grow to a multiple of this, which GPUs multiply faster."""


def new_words(config: Config) -> dict[str, str | None]:
    """Every token that the config adds, and its description where there is one. Raises ConfigError for a bad file."""
    words: dict[str, str | None] = dict.fromkeys([*(config.add_tokens or ()), *(config.add_special_tokens or ())])
    return words | _described(config)


def add_words(tokenizer: PreTrainedTokenizerBase, config: Config) -> None:
    """Put the new words into tokenizer, in place; those that it has already stay as they are."""
    special = [*(config.add_special_tokens or ()), *_described(config)]
    count = tokenizer.add_tokens(list(config.add_tokens or ())) + tokenizer.add_tokens(special, special_tokens=True)
    if count:
        log.info("%d tokens are new to the vocabulary, which now has %d", count, len(tokenizer))


def grow(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, config: Config) -> None:
    """Rows for every token of tokenizer in both embeddings of model, in place. A new word starts at the mean of all rows with
    their spread as noise (noise_init), or at the mean of its description's tokens (desc_init, desc_init_w_noise)."""
    import torch

    before = model.get_input_embeddings().weight.shape[0]
    words = new_words(config)
    if len(tokenizer) > before:
        model.resize_token_embeddings(len(tokenizer), pad_to_multiple_of=ROWS_OF, mean_resizing=False)
        rows = model.get_input_embeddings().weight.shape[0]
        log.info("the embeddings grow from %d to %d rows", before, rows)
    ids = tokenizer.convert_tokens_to_ids(list(words))
    described = [tokenizer(text, add_special_tokens=False).input_ids if text else [] for text in words.values()]
    head = model.get_output_embeddings()
    tied = head is None or head.weight is model.get_input_embeddings().weight
    generator = torch.Generator().manual_seed(config.seed)
    with torch.no_grad():
        for weight in [model.get_input_embeddings().weight, *([] if tied else [head.weight])]:
            old = weight[: min(before, *ids)].float() if ids else weight
            for id, parts in zip(ids, described):
                weight[id] = _start(old, weight, parts, config, generator).to(weight.dtype)


def _start(old: Tensor, weight: Tensor, parts: list[int], config: Config, generator) -> Tensor:
    import torch

    by_description = config.init_special_tokens != "noise_init" and parts
    start = weight[parts].float().mean(0) if by_description else old.mean(0)
    if by_description and config.init_special_tokens == "desc_init":
        return start
    spread = old.std(0) if not by_description else old.std(0) / math.sqrt(len(parts))
    return start + spread * torch.randn(spread.shape, generator=generator).to(spread.device)


def _described(config: Config) -> dict[str, str | None]:
    """new_special_tokens_config: a YAML mapping of token to description."""
    if config.new_special_tokens_config is None:
        return {}
    import yaml

    path = Path(config.new_special_tokens_config).expanduser()
    try:
        table = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"new_special_tokens_config: {path} cannot be read: {error}") from error
    if not isinstance(table, dict) or not all(isinstance(x, str) for pair in table.items() for x in pair):
        raise ConfigError(
            f"new_special_tokens_config: {path} is no mapping of tokens to descriptions.", '"<tok>": what it means'
        )
    return table
