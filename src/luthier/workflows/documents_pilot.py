"""A pilot: so many units of each stage that calls a model, and what the whole will cost, from what these used.

Enters: an open project. Leaves: one Estimate a stage; the pilot's rows stay, and are not asked again. Never goes on by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from luthier.documents.jobs.engine import JobReport, Work, run_job
from luthier.documents.project import Project
from luthier.documents.steps.answer import Answer
from luthier.documents.steps.ask import Ask
from luthier.documents.steps.check import check_rows
from luthier.documents.steps.judge import Judge, apply_verdicts
from luthier.documents.steps.split import require_split
from luthier.errors import EngineError
from luthier.workflows.documents_calls import check_prompts

UNITS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """done, failed: units so far.  left: units of the rest.  tokens_in, tokens_out, money, seconds: of those.

    money: in the currency of the endpoint's prices, None where there are none.
    """

    stage: str
    done: int
    failed: int
    left: int
    tokens_in: int
    tokens_out: int
    money: float | None
    seconds: float


def pilot(project: Project) -> list[Estimate]:
    """Asks about up to budget.pilot chunks, answers as many questions, judges as many rows.

    Raises ConfigError for a prompt or an endpoint that cannot work, EngineError where the endpoint stopped it.
    """
    check_prompts(project)
    require_split(project)
    ask = Ask(project)
    answer = Answer(project, ask.recipe)
    found = [_try(project, ask, 1.0)]
    asked = found[0].done / max(1, found[0].done + found[0].left)  # so much of the questions is there already
    found.append(_try(project, answer, asked))
    if project.recipe.judge.enabled:
        check_rows(project)
        answered = found[1].done / max(1, found[1].done + found[1].left)
        found.append(_try(project, Judge(project), answered))
        apply_verdicts(project)
    return found


def _try(project: Project, work: Work, share: float) -> Estimate:
    """share: how much of this stage's units exist already; the stage before it makes the others."""
    size = project.recipe.budget.pilot or UNITS
    before = _states(project, work)
    done = before.get("done", 0) + before.get("failed", 0)
    report = run_job(project, work, limit=max(0, size - done))
    if report.state in ("paused", "out of budget"):
        raise EngineError(f"{work.stage} is {report.state}: {report.reason}", "Nothing is lost; what was answered is kept.")
    return _estimate(project, work, report, share)


def _estimate(project: Project, work: Work, report: JobReport, share: float) -> Estimate:
    states, endpoint = _states(project, work), project.recipe.endpoint
    done, failed = states.get("done", 0), states.get("failed", 0)
    left = round(sum(states.values()) / (share or 1.0)) - done - failed
    sql = """SELECT count(*), coalesce(avg(tokens_in),0), coalesce(avg(tokens_out),0), coalesce(avg(ms),0) FROM llm_call
             WHERE stage=? AND unit IN (SELECT id FROM unit WHERE stage=? AND recipe=?)"""
    row: Any = project.store.one(sql, work.stage, work.stage, work.recipe)
    calls = left * max(1.0, row[0] / max(1, done + failed))  # an answer that was no use is asked for twice
    fresh = report.done + sum(report.failures.values())
    seconds = report.seconds / fresh * left if fresh else calls * row[3] / 1000 / endpoint.concurrency
    tokens_in, tokens_out = round(calls * row[1]), round(calls * row[2])
    money = (tokens_in * endpoint.price_in + tokens_out * endpoint.price_out) / 1e6
    return Estimate(
        stage=work.stage,
        done=done,
        failed=failed,
        left=left,
        tokens_in=tokens_in,
        tokens_out=tokens_out,
        money=money if endpoint.price_in or endpoint.price_out else None,
        seconds=seconds,
    )


def _states(project: Project, work: Work) -> dict[str, int]:
    sql = "SELECT state, count(*) FROM unit WHERE stage=? AND recipe=? GROUP BY state"
    return dict(map(tuple, project.store.all(sql, work.stage, work.recipe)))
