"""The example datasets of the repository (data/) and the lessons of `luthier quickstart` (inside the package), from the corpus.

identity.json is written by hand and only copied. The rest is drawn with another seed than the corpus; no held-out question is
in it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .corpus import Corpus, write_jsonl
from .judged import preference_rows, rated_rows, sum_rows
from .topics import Item, Language

SEED = 23
REPLAY_ROWS = 360
DEMO_ROWS = 300
NOT_REPLAYED = ("identity", "tools", "story", "chat", "unknown")

DATASET_INFO = {
    "identity": {"file_name": "identity.json"},
    "general": {"file_name": "general.json"},
    "general_50": {"file_name": "general_50.jsonl"},
    "alpaca_en_demo": {"file_name": "alpaca_en_demo.json"},
    "alpaca_zh_demo": {"file_name": "alpaca_zh_demo.json"},
    "multiturn_demo": {
        "file_name": "multiturn_demo.json",
        "formatting": "sharegpt",
        "columns": {"messages": "conversations", "system": "system"},
    },
    "toolcall_demo": {
        "file_name": "toolcall_demo.json",
        "formatting": "sharegpt",
        "columns": {"messages": "conversations", "tools": "tools"},
    },
    "preference_demo": {"file_name": "preference_demo.json", "ranking": True},
    "rated_demo": {
        "file_name": "rated_demo.json",
        "columns": {"prompt": "instruction", "response": "output", "kto_tag": "label"},
    },
    "sums_demo": {"file_name": "sums_demo.json"},
    "pt_demo": {"file_name": "pt_demo.jsonl", "formatting": "text", "columns": {"prompt": "text"}},
}


def write_demos(data: Path, lessons: Path, general_50: Path) -> None:
    """data: the example datasets.  lessons: what quickstart reads.  general_50: held-out questions of the corpus."""
    corpus = Corpus(SEED)
    general = replay_rows(corpus, REPLAY_ROWS)
    write_json(data / "general.json", general)
    write_json(data / "preference_demo.json", preference_rows(general))
    write_json(data / "rated_demo.json", rated_rows(general))
    write_json(data / "sums_demo.json", sum_rows(SEED))
    write_json(data / "alpaca_en_demo.json", alpaca_rows(corpus, "en", DEMO_ROWS))
    write_json(data / "alpaca_zh_demo.json", alpaca_rows(corpus, "zh", DEMO_ROWS))
    write_json(data / "multiturn_demo.json", multiturn_rows(corpus, 150))
    write_json(data / "toolcall_demo.json", tool_rows(corpus, 120))
    write_jsonl(data / "pt_demo.jsonl", corpus.documents(300))
    shutil.copy(general_50, data / "general_50.jsonl")
    write_info(data / "dataset_info.json")
    lessons.mkdir(parents=True, exist_ok=True)
    for name in ("identity.json", "general.json", "general_50.jsonl"):
        shutil.copy(data / name, lessons / name)


def replay_rows(corpus: Corpus, count: int) -> list[dict[str, str]]:
    """Everyday questions of every topic in both languages, each once; nothing about who it is."""
    rows: dict[str, dict[str, str]] = {}
    while len(rows) < count:
        language: Language = "en" if len(rows) % 2 else "zh"
        item = corpus.draw(language)
        if item.topic not in NOT_REPLAYED:
            rows.setdefault(item.question, alpaca_row(item))
    return list(rows.values())


def alpaca_rows(corpus: Corpus, language: Language, count: int) -> list[dict[str, str]]:
    """Questions of every topic but tools, each once."""
    rows: dict[str, dict[str, str]] = {}
    while len(rows) < count:
        item = corpus.draw(language)
        if not item.tools and item.topic != "identity":
            rows.setdefault(item.question, alpaca_row(item))
    return list(rows.values())


def multiturn_rows(corpus: Corpus, count: int) -> list[dict[str, Any]]:
    rows = (row for row in corpus.conversations(count * 6) if len(row["conversations"]) > 2 and not row["tools"])
    plain = (row for row in rows if "<think>" not in row["conversations"][-1]["value"])
    return [{key: row[key] for key in ("system", "conversations")} for row, _ in zip(plain, range(count), strict=False)]


def tool_rows(corpus: Corpus, count: int) -> list[dict[str, Any]]:
    rows = (row for row in corpus.conversations(count * 60) if any(t["from"] == "function_call" for t in row["conversations"]))
    return [{key: row[key] for key in ("conversations", "tools")} for row, _ in zip(rows, range(count), strict=False)]


def alpaca_row(item: Item) -> dict[str, str]:
    """A text before the question goes into input, as alpaca rows have it."""
    instruction, _, rest = item.question.partition("\n")
    return {"instruction": instruction, "input": rest, "output": item.answer}


def write_json(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """A JSON list with one row a line: readable, and small in a diff."""
    lines = ",\n".join("  " + json.dumps(row, ensure_ascii=False) for row in rows)
    path.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def write_info(path: Path) -> None:
    """Our entries; what others put into the file stays."""
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    path.write_text(json.dumps(known | DATASET_INFO, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
