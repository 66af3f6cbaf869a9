"""Where a documents project stands. Enters: an open project. Leaves: one record, and its text for a terminal."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from luthier.documents.project import Project
from luthier.documents.publish import left_out
from luthier.documents.steps.coverage import EXPORTED, coverage
from luthier.runtime.processes import find_process


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """documents: by state.  problems: of files that could not be read.  rows: current ones; good: those that would be exported.

    jobs: the last job of each stage with its true state.  spent: tokens and money by stage.
    """

    documents: dict[str, int]
    problems: list[str]
    notes: list[str]
    chunks: int
    rows: int
    good: int
    left_out: dict[str, int]
    sections: int
    sections_without_rows: list[str]
    proved: float
    jobs: list[dict[str, Any]]
    spent: dict[str, dict[str, float]]
    exports: list[dict[str, Any]] = field(default_factory=list)

    def text(self) -> str:
        states = ", ".join(f"{count:,} {state}" for state, count in self.documents.items()) or "none"
        lines = [f"documents   {states}"]
        lines += [f"            {problem.splitlines()[0]}" for problem in self.problems]
        lines += [f"            note: {note}" for note in self.notes[:20]]
        lines += [f"chunks      {self.chunks:,}", f"rows        {self.rows:,}, of which {self.good:,} are good"]
        lines += [f"            left out: {reason} {count:,}" for reason, count in sorted(self.left_out.items())]
        lines.append(
            f"coverage    {self.proved:.0%} of the characters are quoted; "
            f"{len(self.sections_without_rows)} of {self.sections} sections have no row"
        )
        lines += [f"            no row: {name}" for name in self.sections_without_rows[:10]]
        for job in self.jobs:
            reason = f": {job['reason']}" if job["reason"] else ""
            lines.append(
                f"job         {job['stage']:<8}{job['state']}, {job['done']:,} done, {job['failed']:,} failed, "
                f"{job['queued']:,} left{reason}"
            )
        for stage, spent in self.spent.items():
            money = f", {spent['money']:.4f} money" if spent["money"] else ""
            lines.append(
                f"spent       {stage:<8}{spent['calls']:,.0f} calls, {spent['tokens_in']:,.0f} tokens in, "
                f"{spent['tokens_out']:,.0f} out{money}"
            )
        lines += [f"export      {entry['version']}: {entry['format']}, {entry['counts']}" for entry in self.exports]
        return "\n".join(lines)


def status_of(project: Project) -> Status:
    store = project.store
    rows = """FROM answer JOIN question ON question.id=answer.question JOIN chunk ON chunk.id=question.chunk
              WHERE answer.state='current' AND question.state='current' AND chunk.state='current'"""
    parts = coverage(project)
    chars = sum(part.chars for part in parts)
    notes = [
        f"{row['name']}: {note}"
        for row in store.all("SELECT name, notes FROM document ORDER BY name")
        for note in json.loads(row["notes"])
    ]
    return Status(
        documents={row[0]: row[1] for row in store.all("SELECT state, count(*) FROM document GROUP BY state ORDER BY state")},
        problems=[row[0] for row in store.all("SELECT problem FROM document WHERE state='failed' ORDER BY name")],
        notes=notes,
        chunks=int(store.value("SELECT count(*) FROM chunk WHERE state='current'")),  # type: ignore[arg-type]
        rows=int(store.value(f"SELECT count(*) {rows}")),  # type: ignore[arg-type]
        good=int(store.value(f"SELECT count(*) {rows} AND {EXPORTED}")),  # type: ignore[arg-type]
        left_out=left_out(project),
        sections=len(parts),
        sections_without_rows=[f"{part.document}: {part.section}" for part in parts if not part.rows],
        proved=sum(part.proved for part in parts) / chars if chars else 0.0,
        jobs=jobs_of(project),
        spent=spent_of(project),
        exports=[dict(row) for row in store.all("SELECT version, format, counts, at FROM export ORDER BY at, version")],
    )


def spent_of(project: Project) -> dict[str, dict[str, float]]:
    """Stage -> calls, tokens and money of all calls so far."""
    endpoint, spent = project.recipe.endpoint, {}
    for row in project.store.all("SELECT stage, count(*), sum(tokens_in), sum(tokens_out) FROM llm_call GROUP BY stage"):
        money = (row[2] * endpoint.price_in + row[3] * endpoint.price_out) / 1e6
        spent[row[0]] = {"calls": row[1], "tokens_in": row[2], "tokens_out": row[3], "money": money}
    return spent


def jobs_of(project: Project) -> list[dict[str, Any]]:
    """The last job of each stage; one whose process is gone is called so."""
    found = []
    for row in project.store.all("SELECT * FROM job WHERE id IN (SELECT max(id) FROM job GROUP BY stage) ORDER BY id"):
        counts = dict(
            project.store.all(
                "SELECT state, count(*) FROM unit WHERE stage=? AND recipe=? GROUP BY state", row["stage"], row["recipe"]
            )
        )
        gone = row["state"] == "running" and find_process(row["pid"], row["pid_started"]) is None
        queued = sum(count for state, count in counts.items() if state in ("queued", "leased"))
        found.append(
            {key: row[key] for key in ("stage", "state", "reason", "began", "ended")}
            | ({"state": "interrupted", "reason": "its process is gone; the same command goes on"} if gone else {})
            | {"done": counts.get("done", 0), "failed": counts.get("failed", 0), "queued": queued}
        )
    return found
