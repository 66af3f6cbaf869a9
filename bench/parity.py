"""Named templates beside LLaMA-Factory's: the same ids and labels for the same rows, template by template.

    python -m bench.parity                      every template of text, 5 kinds of rows
    python -m bench.parity --templates qwen3,glm4 --set enable_thinking=false mask_history=true

Each template needs special tokens that no one real tokenizer has, so both sides use a tokenizer made for this: Qwen2.5's with
every special token that any template writes. Leaves: bench/results/parity.md, one line a template, with the first difference
where there is one. Exits 1 where a difference is left that bench/parity.yaml does not explain.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from bench.material import REPOSITORY, add_material_options, alone_in, need
from bench.report import bullets, table, write_report
from bench.sides import PEER_PYTHON, environment
from bench.tokens import TokenRow, first_difference, tail_labels
from luthier.errors import LuthierError

AVOIDED = (
    "Tools without a system message: LLaMA-Factory leaves an empty one in front of them (two newlines too many in Qwen's"
    " format), the vendors' templates and Luthier do not.",
    "An empty list of tools: LLaMA-Factory writes a system message with nothing in it, Luthier writes none.",
    "What a template writes after an end-of-turn (a newline in ChatML): LLaMA-Factory learns it, Luthier does not. Where"
    " nothing ends an earlier answer (falcon, solar), LLaMA-Factory learns an eos that is not there; counted.",
    "Tokens that a template lists are special here for both sides, `<think>` too.",
)
"""Known differences that the rows keep clear of, so that others can be seen."""

DATASETS = ("alpaca", "turns", "tools", "thinking", "agent")
LISTED = REPOSITORY / "bench" / "parity.yaml"
TOOL_FILES = ("glaive_toolcall_zh_demo.json", "glaive_toolcall_en_demo.json")
ROWS = 6


def make_data(assets: Path, folder: Path) -> Path:
    """A dataset folder of small sets: alpaca rows with system and history, long dialogues, tool calls, reasoning, and both."""
    demo = need(assets / "data" / "llamafactory-demo", "llamafactory-demo")
    alpaca = _read(demo / "alpaca_zh_demo.json")[:ROWS] + _read(demo / "alpaca_en_demo.json")[:ROWS]
    alpaca[0]["system"] = "You answer in one sentence."
    alpaca[1]["history"] = [["Hello", "Hello! What can I do?"], ["Nothing yet", "Then I wait."]]
    turns = _read(need(assets / "data" / "smile-counsel-multiturn-zh" / "smile_sharegpt_800.json", "smile"))[:ROWS]
    tools = [row for file in TOOL_FILES for row in [row for row in _read(demo / file) if len(row["tools"]) > 2][:ROWS]]
    thinking = [
        {"instruction": "2 + 3?", "input": "", "output": "<think>\nTwo and three are five.\n</think>\n\n5"},
        {"instruction": "2 + 4?", "input": "", "output": "6"},
        {
            "instruction": "And 3 + 3?",
            "input": "",
            "output": "<think>\nThree twice.\n</think>\n\n6",
            "history": [["1 + 1?", "<think>\nEasy.\n</think>\n\n2"], ["2 + 2?", "4"]],
        },
    ]
    for row in tools:
        row["system"] = "You are a careful assistant."
    agent = [{**row, "conversations": [_reasoned(message) for message in row["conversations"]]} for row in tools]
    for row in (*alpaca, *thinking):
        row.setdefault("system", "")
        row.setdefault("history", [])
    folder.mkdir(parents=True, exist_ok=True)
    history = {
        "columns": {"prompt": "instruction", "query": "input", "response": "output", "system": "system", "history": "history"}
    }
    sharegpt = {"formatting": "sharegpt", "columns": {"messages": "conversations"}}
    with_tools = {"formatting": "sharegpt", "columns": {"messages": "conversations", "tools": "tools", "system": "system"}}
    info: dict[str, Any] = {}
    for name, rows, entry in (
        ("alpaca", alpaca, history),
        ("turns", turns, sharegpt),
        ("tools", tools, with_tools),
        ("thinking", thinking, history),
        ("agent", agent, with_tools),
    ):
        (folder / f"{name}.json").write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
        info[name] = {"file_name": f"{name}.json", **entry}
    (folder / "dataset_info.json").write_text(json.dumps(info), encoding="utf-8")
    return folder


def _reasoned(message: dict[str, str]) -> dict[str, str]:
    """Reasoning in front of a call or an answer."""
    if message["from"] not in ("function_call", "gpt"):
        return message
    return {**message, "value": f"<think>\nI have read this.\n</think>\n\n{message['value']}"}


def make_tokenizer(assets: Path, folder: Path, tokens: list[str]) -> Path:
    """Qwen2.5's tokenizer with these special tokens, a begin-of-text token, and no chat template."""
    from transformers import AutoConfig, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(need(assets / "tokenizers" / "qwen2.5", "the Qwen2.5 tokenizer"))
    tokenizer.chat_template = None
    tokenizer.add_special_tokens({"bos_token": "<|test_begin|>", "additional_special_tokens": tokens})
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(folder)
    AutoConfig.for_model("qwen2", vocab_size=len(tokenizer)).save_pretrained(folder)
    return folder


def theirs(request: dict[str, Any], work: Path) -> dict[str, dict[str, Any]]:
    """template -> dataset -> rows or {"error"}, by LLaMA-Factory."""
    file = work / "request.json"
    file.write_text(json.dumps(request), encoding="utf-8")
    _peer("encode", str(file), work=work)
    return {path.stem: _read(path) for path in sorted(Path(request["out"]).glob("*.json"))}


@cache
def tokenizer_in(folder: Path) -> Any:
    from luthier.config import load_config
    from luthier.models.tokenizer import load_tokenizer

    return load_tokenizer(load_config({"model_name_or_path": str(folder)}))


def ours(
    model: Path, data: Path, template: str, settings: Mapping[str, Any]
) -> Iterator[tuple[str, list[TokenRow] | LuthierError]]:
    """Each dataset with its rows by Luthier, or why there are none."""
    from luthier.config import load_config
    from luthier.datasets import read_samples
    from luthier.stages import STAGES
    from luthier.templates import find_template

    config = load_config(
        {
            "stage": "sft",
            "model_name_or_path": str(model),
            "dataset_dir": str(data),
            "dataset": list(DATASETS),
            "template": template,
            "cutoff_len": 16384,
            **settings,
        }
    )
    maker, stage = find_template(config, tokenizer_in(model)), STAGES["sft"](config)
    for dataset in DATASETS:
        try:
            made = stage.encode(list(read_samples(config, [dataset], wants=stage.sample)), maker)
        except LuthierError as error:
            yield dataset, error
            continue
        segments = [segment for pieces in made for piece in pieces for segment in piece.segments]
        yield dataset, [TokenRow(input_ids=each.input_ids.tolist(), labels=each.labels.tolist()) for each in segments]


def compare(model: Path, data: Path, template: str, made: dict[str, Any], settings: Mapping[str, Any]) -> dict[str, str]:
    """dataset -> "equal", "equal, N after the end" (see bench/tokens.py), or the first difference."""
    result = {}
    for dataset, mine in ours(model, data, template, settings):
        if "error" in made[dataset]:
            result[dataset] = f"the peer fails: {made[dataset]['error'][:60]}"
            continue
        if isinstance(mine, LuthierError):
            result[dataset] = f"refused: {mine.message.splitlines()[0][:90]}"
            continue
        rows = [TokenRow(**row) for row in made[dataset]]
        difference = first_difference(mine, rows)
        tails = 0 if difference else tail_labels(mine, rows)
        result[dataset] = difference or (f"equal, {tails} after the end" if tails else "equal")
    return result


def _peer(*arguments: str, work: Path) -> str:
    command = [str(PEER_PYTHON), "-m", "bench.peer.parity", *arguments]
    done = subprocess.run(command, env=environment(1, work / "caches"), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"the peer failed:\n{done.stderr[-3000:]}")
    return done.stdout


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.parity", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--templates", default="", help="names with commas (default: all that LLaMA-Factory has)")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="keys of the configuration, for both sides")
    add_material_options(parser)
    options = parser.parse_args()
    with alone_in(options.work / "parity"):
        return measure(options)


def measure(options: argparse.Namespace) -> int:
    """Both sides over every template, the table; 1 where a difference is left unexplained."""
    import logging

    from luthier.templates.family import family_names

    logging.getLogger("luthier").setLevel(logging.ERROR)
    work = options.work / "parity"
    about = json.loads(_peer("about", work=work).splitlines()[-1])
    model = make_tokenizer(options.assets, work / "model", about["tokens"])
    data = make_data(options.assets, work / "data")
    names = options.templates.split(",") if options.templates else [n for n in about["templates"] if n in family_names()]
    out = work / "made"
    for old in out.glob("*.json"):
        old.unlink()
    settings = {key: yaml.safe_load(value) for key, _, value in (pair.partition("=") for pair in options.set)}
    counts = {name: len(_read(data / f"{name}.json")) for name in DATASETS}
    request = {"model": str(model), "data": str(data), "datasets": counts, "templates": names, "out": str(out)}
    made = theirs({**request, "settings": settings}, work)

    reasons = yaml.safe_load(LISTED.read_text(encoding="utf-8")) or {}
    rows, unexplained = [], []
    for template in made:
        result = compare(model, data, template, made[template], settings)
        equal = all(text.startswith("equal") for text in result.values())
        reason = "" if equal else reasons.get(template, "").strip().replace("|", "\\|")
        if not equal and not reason:
            unexplained.append(template)
        rows.append((template, *(result[dataset] for dataset in DATASETS), reason))
        print(template, result, flush=True)
    alone = [name for name in family_names() if name not in about["templates"]]
    left = [name for name in about["templates"] if name not in family_names()]
    sections = [
        f"{len(rows)} templates; not equal and not explained: {len(unexplained)} ({', '.join(unexplained) or 'none'}).",
        bullets(AVOIDED),
        f"Names that only Luthier has: {', '.join(alone)}.",
        f"Names of LLaMA-Factory's for pictures, sound and video: {', '.join(left)}.",
        table(("template", *DATASETS, "why ours differs"), rows),
    ]
    write_report(
        options.results,
        "parity",
        "Templates beside LLaMA-Factory 0.9.5",
        sections,
        " ".join(["python -m bench.parity", *sys.argv[1:]]),
    )
    return 1 if unexplained else 0


if __name__ == "__main__":
    sys.exit(main())
