"""The model card of the starter: what it is, how it was made, and what it got right on questions it never saw."""

from __future__ import annotations

from pathlib import Path
from typing import Any

TOPICS = {
    "Who it is": ("identity",),
    "Capitals, countries, continents": ("capital", "country", "continent"),
    "Opposites": ("opposite", "opposite_back"),
    "Words, Chinese to English and back": ("to_chinese", "to_english"),
    "Small sums (+, -, x)": ("arithmetic",),
    "Comparing and counting": ("larger", "next", "count"),
    "Animals": ("animal_sound", "animal_home", "animal_legs", "animal_young", "animal_diet", "can_fly"),
    "Things, uses, colours, materials": ("colour_of", "use_of", "made_of", "body_use", "compare"),
    "Jobs and places": ("job_does", "job_place", "where_to"),
    "Calendar, units, numbers": (
        "day_after",
        "day_before",
        "month_after",
        "month_season",
        "month_days",
        "unit",
        "number_word",
        "number_digits",
    ),
    "Single facts": ("fact",),
    "Kinds (what is it, is it a ...?)": ("kind", "is_it", "odd"),
    "Plurals, past tense, measure words": ("plural", "past", "measure"),
    "News titles (10 categories)": ("news",),
    "Reading two sentences": ("reading",),
    "Following (repeat, first word, spell, feeling)": ("repeat", "pick", "spell", "follow", "feeling"),
    "Admitting that it does not know": ("unknown",),
}

CARD = """---
license: apache-2.0
language: [zh, en]
library_name: transformers
pipeline_tag: text-generation
---
# Luthier Starter

The model that comes with Luthier, so that the first fine-tuning needs no download and no GPU. It speaks a little Chinese and
a little English. **It is small ({parameters:.2f} million parameters) and knows little**: it was made to be fine-tuned, watched
and compared in minutes, not to be relied on. Outside of what its corpus asks, it is wrong or says that it does not know.

小型双语模型，随 Luthier 一起提供：不用下载、不用显卡就能完成第一次微调。它只有 {parameters:.2f} 百万个参数，知道得很少。

- Architecture: Qwen3, {layers} layers, hidden {hidden}, {vocabulary} tokens of byte-level BPE (any text can be written), ChatML
  template with tools and thinking; bfloat16, {megabytes:.1f} MB.
- Made by `recipes/starter` with Luthier's own `pt` and `sft` stages, from text that the recipe writes itself (no other data):
  {pretrain_tokens:,} tokens of plain text and {sft_tokens:,} tokens of conversations, one pass each, {minutes:.0f} minutes on
  {machine}.
- Remake it: `make starter`.

## Held-out questions

Questions whose wording was kept out of training; the facts behind them were taught in other wordings. An answer counts when it
holds what only a right one holds ("= 7" for 3 + 4). Greedy decoding, no system prompt.

| topic | right | asked |
|---|---|---|
{table}
| **all** | **{right}** | **{asked}** |

The 50 general questions of `data/general_50.jsonl`: **{general} / 50**.

## What to expect

- Sums are mostly remembered, not calculated. Names given in a system prompt are copied, long or rare ones not always rightly.
- It has seen sentences of a few dozen words only; the template and the config allow 4,096 tokens, but nothing that long was
  trained.
- Fine-tuning it on one thing alone makes it forget the rest: mix in `data/general.json` to see the difference.
"""


def write_card(path: Path, scores: dict[str, tuple[int, int]], general: int, facts: dict[str, Any]) -> None:
    """scores: topic -> (right, asked); facts: the other slots of CARD."""
    named = {name: [scores[topic] for topic in topics if topic in scores] for name, topics in TOPICS.items()}
    lines = [f"| {name} | {sum(r for r, _ in marks)} | {sum(a for _, a in marks)} |" for name, marks in named.items() if marks]
    right, asked = (sum(column) for column in zip(*scores.values(), strict=True))
    text = CARD.format(table="\n".join(lines), right=right, asked=asked, general=general, **facts)
    path.write_text(text, encoding="utf-8")
