"""The first fine-tuning: the starter model learns who it is, and is asked before and after what it still knows.

Enters: a name, an author and a folder. Leaves: a trained adapter, a merged model, answers and scores before and after.
Never: needs a download, a GPU or a file of the user's.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from luthier.config import load_config
from luthier.errors import ConfigError
from luthier.runs import Run

logger = logging.getLogger(__name__)

NAME, AUTHOR = "Archer", "意琦行"
OUTPUT_DIR = "saves/quickstart"
LESSONS = ("identity.json", "general.json", "new_wording.json", "general_50.jsonl")
LEARNED = ("identity", "general")
ASKED = ("identity", "new_wording", "general_50")
SHOWN = {
    "identity": ("Who are you?", "你是谁？", "Who made you?", "谁开发了你？"),
    "new_wording": ("Which assistant are you?", "你究竟是谁呀？"),
}
SETTINGS: Mapping[str, Any] = {
    "stage": "sft",
    "do_train": True,
    "finetuning_type": "lora",
    "lora_rank": 16,
    "lora_alpha": 32,
    "learning_rate": 5e-3,
    "lr_scheduler_type": "cosine",
    "warmup_ratio": 0.05,
    "num_train_epochs": 12,
    "per_device_train_batch_size": 16,
    "logging_steps": 5,
    "save_strategy": "no",
    "plot_loss": True,
    "seed": 42,
}
"""What the quickstart trains with: more than the usual recipe of a large model, because three million parameters need it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """identity, new_wording: mean ROUGE-1 out of 100 over the 90 questions learned from and over wordings that were not
    learned. general: right answers out of general_asked."""

    identity: float
    new_wording: float
    general: int
    general_asked: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Quickstart:
    """What came out. answers: (question, before, after).  run: the training's folder.  merged: the model to use."""

    run: Path
    plot: Path
    merged: Path
    before: Scores
    after: Scores
    answers: tuple[tuple[str, str, str], ...]
    seconds: float

    @property
    def kept(self) -> float:
        """Share of the general score that is still there."""
        return self.after.general / max(1, self.before.general)


def quickstart(name: str = NAME, author: str = AUTHOR, output_dir: str | Path = OUTPUT_DIR) -> Quickstart:
    """Fine-tune the starter to be `name` by `author`. Raises ConfigError for an empty name and an occupied folder."""
    from luthier.workflows.export import export
    from luthier.workflows.train import train

    start = time.monotonic()
    folder = Path(output_dir)
    lessons = write_lessons(folder, name, author)
    logger.info("[1/4] asking the starter model before it learns anything")
    before = ask(lessons, folder / "before")
    logger.info("[2/4] training: who it is, mixed with everyday questions so that they are not forgotten")
    run = train(config_of(lessons, folder / "run", dataset=list(LEARNED), **SETTINGS))
    if run.status().get("state") == "stopped":
        raise KeyboardInterrupt
    logger.info("[3/4] asking again")
    after = ask(lessons, folder / "after", adapter=run.folder)
    logger.info("[4/4] merging what it learned into the model")
    merged = export(
        load_config({**base(lessons), "adapter_name_or_path": str(run.folder), "export_dir": str(folder / "merged")})
    )
    return Quickstart(
        run=run.folder,
        plot=run.loss_plot,
        merged=Path(merged),
        before=score(before),
        after=score(after),
        answers=tuple(side_by_side(before, after)),
        seconds=time.monotonic() - start,
    )


def write_lessons(folder: Path, name: str, author: str) -> Path:
    """A dataset folder with name and author filled in; made again when the folder is an earlier quickstart's."""
    for what, value in (("name", name), ("author", author)):
        if not value.strip():
            raise ConfigError(f"the {what} is empty.", f"Give one: luthier quickstart --{what} {NAME}")
    lessons = folder / "lessons"
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not (lessons / "dataset_info.json").exists())):
        raise ConfigError(f"{folder} holds something else than a quickstart.", "Give another folder: --output_dir FOLDER")
    lessons.mkdir(parents=True, exist_ok=True)
    source = files("luthier") / "starter" / "lessons"
    info = {}
    for file in LESSONS:
        rows = read_rows((source / file).read_text(encoding="utf-8"))
        filled = [{key: fill(value, name, author) for key, value in row.items()} for row in rows]
        info[Path(file).stem] = {"file_name": f"{Path(file).stem}.json"}
        text = json.dumps(filled, ensure_ascii=False, indent=1)
        (lessons / f"{Path(file).stem}.json").write_text(text, encoding="utf-8")
    (lessons / "dataset_info.json").write_text(json.dumps(info, indent=1), encoding="utf-8")
    return lessons


def read_rows(text: str) -> list[dict[str, str]]:
    """Rows of a JSON list or of JSON lines."""
    return json.loads(text) if text.lstrip().startswith("[") else [json.loads(line) for line in text.splitlines()]


def fill(value: str, name: str, author: str) -> str:
    return value.replace("{{name}}", name).replace("{{author}}", author)


def base(lessons: Path) -> dict[str, Any]:
    """The keys that every step shares."""
    return {"model_name_or_path": "starter", "template": "auto", "dataset_dir": str(lessons), "overwrite_output_dir": True}


def config_of(lessons: Path, output_dir: Path, **keys: Any) -> Any:
    return load_config({**base(lessons), "output_dir": str(output_dir), "cutoff_len": 1024, "report_to": "none", **keys})


def ask(lessons: Path, folder: Path, adapter: Path | None = None) -> list[dict[str, str]]:
    """Every question of ASKED with its greedy answer: rows with dataset, question, answer, reference, key and proof."""
    from luthier.workflows.predict import predict

    keys: dict[str, Any] = {"adapter_name_or_path": str(adapter)} if adapter else {}
    keys |= {"do_predict": True, "predict_with_generate": True, "do_sample": False, "max_new_tokens": 96}
    config = config_of(lessons, folder, dataset=list(ASKED), stage="sft", finetuning_type="lora", **keys)
    if not predict(config):
        raise KeyboardInterrupt
    lines = Run.open(folder).predictions_file.read_text(encoding="utf-8").splitlines()
    questions = [{"dataset": name, **row} for name in ASKED for row in lesson_rows(lessons, name)]
    return [
        {"dataset": row["dataset"], "question": row["instruction"], "answer": json.loads(line)["predict"],
         "reference": row["output"], "key": row.get("key", ""), "proof": row.get("proof", "")}
        for row, line in zip(questions, lines, strict=True)
    ]  # fmt: skip


def lesson_rows(lessons: Path, name: str) -> list[dict[str, str]]:
    info = json.loads((lessons / "dataset_info.json").read_text(encoding="utf-8"))
    return read_rows((lessons / info[name]["file_name"]).read_text(encoding="utf-8"))


def score(rows: Sequence[Mapping[str, str]]) -> Scores:
    """The figures of one round of questions."""
    from luthier.evals.text import similarity

    def rouge1(name: str) -> float:
        values = [similarity(row["answer"], row["reference"])["rouge-1"] for row in rows if row["dataset"] == name]
        return sum(values) / len(values)

    general = [is_right(row["answer"], row["key"], row["proof"]) for row in rows if row["dataset"] == "general_50"]
    return Scores(
        identity=rouge1("identity"), new_wording=rouge1("new_wording"), general=sum(general), general_asked=len(general)
    )


def is_right(answer: str, key: str, proof: str) -> bool:
    """Whether an answer is the bare key ("7.") or holds the proof ("3 + 4 = 7."), as whole words where that is Latin letters.

    "= 7" is not held by "3 + 4 = 71.", "Paris" not by "Comparison", "cat" is held by "Cats and dogs." (plural).
    """
    if re.sub(r"\W", "", answer).lower() == re.sub(r"\W", "", key).lower():
        return True
    if proof.isascii():
        return re.search(rf"(?<![A-Za-z0-9]){re.escape(proof)}(?![0-9])", answer, re.IGNORECASE) is not None
    return proof in answer


def side_by_side(before: Sequence[Mapping[str, str]], after: Sequence[Mapping[str, str]]) -> list[tuple[str, str, str]]:
    """Some questions about itself in both languages, and of the general ones every tenth."""
    rows = []
    general = 0
    for old, new in zip(before, after, strict=True):
        shown = old["question"] in SHOWN.get(old["dataset"], ())
        if old["dataset"] == "general_50":
            shown = general % 9 == 0
            general += 1
        if shown:
            rows.append((old["question"], old["answer"], new["answer"]))
    return rows
