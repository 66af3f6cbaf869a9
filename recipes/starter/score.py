"""Scores of a starter on its held-out questions, through Luthier's own template and engine.

    python -m recipes.starter.score --model starter --questions build/starter/corpus/heldout.jsonl

What counts as right is said by luthier.workflows.quickstart.is_right. Nothing here looks at training data.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from luthier.config import Config
from luthier.engines.base import Sampling
from luthier.engines.hf import HFEngine
from luthier.models.load import load_model
from luthier.models.tokenizer import load_tokenizer
from luthier.templates import find_template
from luthier.types import Conversation, Message
from luthier.workflows.quickstart import is_right


def answers(model_folder: str, questions: list[str], system: str = "", template: str | None = None) -> list[str]:
    """Greedy answers, in the order of the questions."""
    import torch

    config = Config(model_name_or_path=model_folder, template=template)
    tokenizer = load_tokenizer(config)
    chat = find_template(config, tokenizer)
    engine = HFEngine(load_model(config, dtype=torch.float32), tokenizer, chat.stop_token_ids)
    given = (Message(role="system", content=system),) if system else ()
    prompts = [chat.encode_prompt(Conversation(messages=(*given, Message(role="user", content=ask)))) for ask in questions]
    found = {one.index: one.text for one in engine.generate(prompts, Sampling(do_sample=False, max_new_tokens=64))}
    return [chat.parse(found[index]).content for index in range(len(questions))]


def read_questions(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def score(
    model_folder: str, rows: list[dict[str, Any]], **how: str
) -> tuple[dict[str, tuple[int, int]], list[tuple[str, str, str]]]:
    """({topic: (right, asked)}, [(question, expected, answered) of the wrong ones])."""
    counts: dict[str, list[bool]] = defaultdict(list)
    wrong = []
    for row, answer in zip(rows, answers(model_folder, [row["instruction"] for row in rows], **how), strict=True):
        right = is_right(answer, row["key"], row["proof"])
        counts[row["topic"]].append(right)
        if not right:
            wrong.append((row["instruction"], row["output"], answer))
    return {topic: (sum(marks), len(marks)) for topic, marks in counts.items()}, wrong


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="starter")
    parser.add_argument("--questions", type=Path, default=Path("build/starter/corpus/heldout.jsonl"))
    parser.add_argument("--system", default="")
    parser.add_argument("--wrong", type=int, default=20, help="how many wrong answers to show")
    options = parser.parse_args()
    by_topic, mistakes = score(options.model, read_questions(options.questions), system=options.system)
    for topic, (right, asked) in sorted(by_topic.items()):
        print(f"{topic:16} {right:4} / {asked}")
    right, asked = (sum(column) for column in zip(*by_topic.values(), strict=True))
    print(f"{'all':16} {right:4} / {asked}  ({100 * right / asked:.1f} %)")
    for ask, expected, answered in mistakes[: options.wrong]:
        print(f"  {ask!r}: {answered!r}, not {expected!r}")
