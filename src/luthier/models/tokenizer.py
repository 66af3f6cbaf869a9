"""Model folder -> tokenizer.

Enters: the config. Leaves: a transformers tokenizer that pads on the right and has a pad token.
Never: adds a token to the vocabulary that the config does not ask for.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from luthier.errors import ModelError
from luthier.hub import resolve_model
from luthier.models.vocabulary import add_words, new_words
from luthier.models.weights import first_line

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from luthier.config import Config

VOCABULARIES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "sentencepiece.bpe.model")


def load_tokenizer(config: Config, folder: Path | None = None) -> PreTrainedTokenizerBase:
    """The tokenizer of model_name_or_path (of folder, if given). ModelError names the file that is missing or broken."""
    from transformers import AutoTokenizer

    folder = folder or resolve_model(config.model_name_or_path, config)
    if not config.trust_remote_code and not any((folder / name).is_file() for name in VOCABULARIES):
        raise ModelError(
            f"{folder} has no tokenizer: none of {', '.join(VOCABULARIES)}.", "Copy the tokenizer files of the model there."
        )
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            folder,
            use_fast=config.use_fast_tokenizer,
            split_special_tokens=config.split_special_tokens,
            trust_remote_code=config.trust_remote_code,
            padding_side="right",
            local_files_only=True,
        )
    except Exception as error:  # tokenizers raises bare Exception for a broken tokenizer.json
        raise ModelError(
            f"the tokenizer in {folder} cannot be loaded: {first_line(error)}", "Copy the tokenizer files again."
        ) from error
    ensure_pad_token(tokenizer, folder)
    if new_words(config):
        add_words(tokenizer, config)
    return tokenizer


def ensure_pad_token(tokenizer: PreTrainedTokenizerBase, folder: Path | str = "") -> None:
    """Give a tokenizer without pad token one it already has: the end of text, else the unknown token.

    Padding is masked out wherever it is used, so which token it is changes nothing but the id under the mask.
    """
    if tokenizer.pad_token is not None:
        return
    stand_in = tokenizer.eos_token or tokenizer.unk_token
    if stand_in is None:
        raise ModelError(
            f"the tokenizer in {folder} has neither pad, end-of-text nor unknown token.",
            "Set eos_token in its tokenizer_config.json.",
        )
    tokenizer.pad_token = stand_in
