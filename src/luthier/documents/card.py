"""The card of a dataset version (README.md): sources, how its rows were made, what was left out and why. Measured numbers
only."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from luthier.documents.filters import meanings
from luthier.documents.project import Project
from luthier.documents.publish import left_out
from luthier.documents.steps.coverage import coverage

HELD_OUT = {
    "val": "texts that no training row was made from",
    "test": "texts that no training row was made from; keep it for the end",
    "known": "texts of training rows, with questions that no training row asks",
}


def make_card(project: Project, version: str, counts: Mapping[str, int], sums: Mapping[str, str], registered: str) -> str:
    """counts: rows by split.  sums: sha256 by file name.  registered: the name of the dataset."""
    recipe, store = project.recipe, project.store
    lines = [f"# {project.name} {version}", ""]
    lines += [
        f"Made on {date.today().isoformat()} from these documents; `provenance.jsonl` leads each row back to its characters.",
        "",
    ]
    lines += [
        "```",
        f"luthier train --dataset {registered} --dataset_dir {project.folder.name}/exports/{version} ...",
        "```",
        "",
    ]
    lines += ["| file | rows | what it holds | sha256 |", "|---|---|---|---|"]
    for split, count in counts.items():
        what = HELD_OUT.get(split, f"rows to learn from, {recipe.export.format}")
        lines.append(f"| {split}.jsonl | {count:,} | {what} | {sums.get(f'{split}.jsonl', '')[:16]} |")
    lines += ["", "## Sources", "", "| document | kind | pages | characters | sha256 |", "|---|---|---|---|---|"]
    for row in store.all("SELECT * FROM document WHERE state='parsed' ORDER BY name"):
        lines.append(
            f"| {row['name']} | {row['kind']} | {row['num_pages'] or ''} | {row['num_chars']:,} | {row['sha256'][:16]} |"
        )
    lines += ["", f"Licence of the sources: {recipe.export.licence or 'not stated; set export.licence'}.", ""]
    lines += ["## How the rows were made", "", *_making(project), "", *_coverage(project), "", "## What was left out", ""]
    reasons = left_out(project)
    lines += [f"- {reason}: {count:,}" + _meaning(reason) for reason, count in sorted(reasons.items())] or ["Nothing."]
    failed = store.all("SELECT name, problem FROM document WHERE state='failed' ORDER BY name")
    if failed:
        lines += ["", "Files that could not be read:", "", *(f"- {row['problem'].splitlines()[0]}" for row in failed)]
    return "\n".join(lines) + "\n"


def _making(project: Project) -> list[str]:
    recipe = project.recipe
    most, by = recipe.chunk.max_chars, recipe.split.by
    chunks = f"Chunks of at most {most:,} characters; split by {by} before asking, seed {recipe.seed}."
    if recipe.ask.generator == "extract":
        how = (
            "No model was used: questions come from headings, definitions, announced steps, tables and FAQs, and every answer "
            "is text of the source. This is a baseline: its questions are formulaic."
        )
        return [chunks, "", how]
    lines = [chunks, "", f"Questions and answers by `{recipe.endpoint.model}`, prompts for {recipe.ask.kind}."]
    for row in project.store.all(
        "SELECT stage, model, count(*), sum(tokens_in), sum(tokens_out) FROM llm_call GROUP BY stage, model"
    ):
        lines.append(f"- {row[0]}: {row[2]:,} calls of `{row[1]}`, {row[3]:,} tokens in, {row[4]:,} out")
    judge = recipe.judge.model or recipe.endpoint.model
    if recipe.judge.enabled:
        same = " (the model that wrote the answers: its verdicts are lenient)" if judge == recipe.endpoint.model else ""
        lines.append(
            f"- judged by `{judge}`{same}: supported >= {recipe.judge.min_supported:g}, "
            f"useful >= {recipe.judge.min_useful:g} of 10"
        )
    return lines


def _coverage(project: Project) -> list[str]:
    parts = coverage(project)
    chars, proved = sum(part.chars for part in parts), sum(part.proved for part in parts)
    empty = [part for part in parts if not part.rows]
    share = proved / chars if chars else 0
    return [
        f"{len(parts) - len(empty)} of {len(parts)} sections have rows; {share:.0%} of the characters are quoted by some row."
    ]


def _meaning(reason: str) -> str:
    entry: Mapping[str, Any] = meanings().get(reason, {})
    return f" ({entry['words']})" if entry else ""
