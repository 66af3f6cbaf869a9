"""The tokenizer of the starter model: byte-level BPE over the corpus, with the special tokens and splits of Qwen.

    python -m recipes.starter.tokenizer --corpus build/starter/corpus --out build/starter/tokenizer

Any text can be encoded: what the corpus never showed falls back to bytes. Writes tokenizer.json, tokenizer_config.json and
chat_template.jinja into the folder.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

VOCABULARY = 3072
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
MARKS = ("<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>", "<think>", "</think>")
MAX_LENGTH = 4096
# The split that the Qwen family uses (llama.cpp knows it as "qwen2"): a word with one mark before it, single digits,
# runs of punctuation, line ends. The same split lets one converter serve both.
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# Words of every chat header, and placeholders that users write in their own data: short in tokens, learned sooner.
FREQUENT = ("system\n", "user\n", "assistant\n", "{{name}}", "{{author}}")


def train(texts: Iterator[str], size: int = VOCABULARY) -> Tokenizer:
    """A tokenizer of exactly size ids, the special tokens and marks being the last ones."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    split = pre_tokenizers.Split(Regex(SPLIT), behavior="isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    added = len(SPECIAL) + len(MARKS)
    trainer = trainers.BpeTrainer(
        vocab_size=size - added, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in SPECIAL])
    tokenizer.add_tokens([AddedToken(text, special=False, normalized=False) for text in MARKS])
    return tokenizer


def corpus_texts(folder: Path) -> Iterator[str]:
    """Every text of pretrain.jsonl and sft.jsonl."""
    for line in (folder / "pretrain.jsonl").open(encoding="utf-8"):
        yield json.loads(line)["text"]
    for line in (folder / "sft.jsonl").open(encoding="utf-8"):
        row: dict[str, Any] = json.loads(line)
        yield from (turn["value"] for turn in row["conversations"])
        if row["system"]:
            yield row["system"]
        if row["tools"]:
            yield row["tools"]
    yield from FREQUENT * 3000


def save(tokenizer: Tokenizer, folder: Path) -> None:
    """Write the three files that transformers reads."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "Qwen2Tokenizer",
        "model_max_length": MAX_LENGTH,
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "bos_token": None,
        "unk_token": None,
        "add_bos_token": False,
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": False,
        "split_special_tokens": False,
        "additional_special_tokens": list(SPECIAL),
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    shutil.copy(Path(__file__).with_name("chat_template.jinja"), folder / "chat_template.jinja")


def build_tokenizer(corpus: Path, folder: Path, size: int = VOCABULARY) -> Tokenizer:
    """Train on the corpus folder and save into folder."""
    tokenizer = train(corpus_texts(corpus), size)
    save(tokenizer, folder)
    return tokenizer


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=Path, default=Path("build/starter/corpus"))
    parser.add_argument("--out", type=Path, default=Path("build/starter/tokenizer"))
    parser.add_argument("--size", type=int, default=VOCABULARY)
    options = parser.parse_args()
    build_tokenizer(options.corpus, options.out, options.size)
