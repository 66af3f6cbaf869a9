"""The stages of a documents project that call a model: ask, answer, weaker answers, judge; each with estimate, pilot and
budget."""

from __future__ import annotations

from collections.abc import Callable

from luthier.documents.jobs.cost import estimate_after, estimate_before
from luthier.documents.jobs.engine import JobReport, Work, run_job
from luthier.documents.project import Project
from luthier.documents.prompts import prompt_of
from luthier.documents.steps.answer import Answer, Weaker
from luthier.documents.steps.ask import Ask
from luthier.documents.steps.check import check_rows
from luthier.documents.steps.clean import Clean
from luthier.documents.steps.judge import Judge, apply_verdicts
from luthier.documents.steps.rows import activate
from luthier.documents.steps.split import require_split
from luthier.errors import ConfigError, EngineError
from luthier.runtime.progress import progress_bars

Go = Callable[[str], bool]
Tell = Callable[[str], None]


def ask_and_answer(project: Project, tell: Tell, go: Go, *, retry_failed: bool = False) -> None:
    """Questions, answers, filters, verdicts. Raises EngineError where the endpoint, the budget or the user stopped it."""
    if project.recipe.clean.model:
        clean(project, tell, go, retry_failed=retry_failed)
    ask(project, tell, go, retry_failed=retry_failed)
    answer(project, tell, go, retry_failed=retry_failed)
    judge(project, tell, go, retry_failed=retry_failed)


def clean(project: Project, tell: Tell, go: Go, *, retry_failed: bool = False) -> JobReport:
    """A cleaning job. A chunk whose facts the model would have changed keeps the words that the rules left."""
    check_prompts(project)
    return _job(project, Clean(project), tell, go, retry_failed)


def ask(project: Project, tell: Tell, go: Go, *, retry_failed: bool = False) -> JobReport:
    """A question job; afterwards its questions are the current ones."""
    check_prompts(project)
    require_split(project)
    work = Ask(project)
    report = _job(project, work, tell, go, retry_failed)
    activate(project, work.recipe, Answer(project, work.recipe).recipe)
    return report


def answer(project: Project, tell: Tell, go: Go, *, retry_failed: bool = False) -> JobReport:
    """An answer job, and one for the weaker model where the recipe names one."""
    questions = Ask(project).recipe
    work = Answer(project, questions)
    report = _job(project, work, tell, go, retry_failed)
    activate(project, questions, work.recipe)
    if project.recipe.answer.weaker:
        _job(project, Weaker(project, work), tell, go, retry_failed)
    return report


def judge(project: Project, tell: Tell, go: Go, *, retry_failed: bool = False) -> JobReport | None:
    """Filters first; verdicts for what they let through; rows below the minimum are flagged."""
    check_rows(project)
    if not project.recipe.judge.enabled:
        apply_verdicts(project)
        return None
    if project.recipe.judge.model in (None, project.recipe.endpoint.model):
        tell("judge    the judge is the model that wrote the answers: expect lenient verdicts (judge.model names another)")
    report = _job(project, Judge(project), tell, go, retry_failed)
    below = apply_verdicts(project)
    tell("judge    " + ", ".join(f"{code} {count:,}" for code, count in below.items()))
    return report


def _job(project: Project, work: Work, tell: Tell, go: Go, retry_failed: bool) -> JobReport:
    """Estimate, pilot, the question whether to go on, the rest. Raises EngineError where it ended before its end."""
    endpoint, pilot = project.recipe.endpoint, project.recipe.budget.pilot
    done = "SELECT subject FROM unit WHERE stage=? AND recipe=? AND state='done'"
    finished = {row[0] for row in project.store.all(done, work.stage, work.recipe)}
    left = [subject for subject in work.subjects() if subject not in finished]
    failed = project.store.value(
        "SELECT count(*) FROM unit WHERE stage=? AND recipe=? AND state='failed'", work.stage, work.recipe
    )
    if not left or (failed == len(left) and not retry_failed):
        tell(f"{work.stage:<9}up to date" + (f", {failed:,} failed earlier (--retry-failed asks again)" if failed else ""))
        return JobReport(stage=work.stage, failed=int(failed or 0))
    tell(f"{work.stage:<9}{estimate_before(work, left, endpoint).removeprefix(work.stage + ': ')}")
    with progress_bars() as bars:
        bar = bars.add(work.stage, len(left))
        if 0 < pilot < len(left) and not finished:
            report = run_job(
                project, work, limit=pilot, retry_failed=retry_failed, progress=lambda n, _, text: bar.update(n, text)
            )
            _require(project, report)
            if not go(estimate_after(report, report.left, endpoint)):
                raise EngineError("stopped after the pilot.", "Its answers are kept; the same command goes on from there.")
            retry_failed = False
        before = report.done if 0 < pilot < len(left) and not finished else 0
        report = run_job(project, work, retry_failed=retry_failed, progress=lambda n, _, text: bar.update(before + n, text))
        bar.close()
    failures = "".join(f", {code} {count:,}" for code, count in report.failures.items())
    calls = f"{report.calls:,} calls, {report.cached:,} from the cache"
    tell(f"{work.stage:<9}{report.state}: {report.done:,} now, {calls}{failures}")
    _require(project, report)
    return report


def _require(project: Project, report: JobReport) -> None:
    if report.state in ("paused", "out of budget"):
        raise EngineError(
            f"{report.stage} is {report.state}: {report.reason} ({report.left:,} units are left).",
            f"Nothing is lost; the same command goes on from there: luthier documents run {project.folder}",
        )
    if (
        report.failed
        and not report.done
        and not project.store.value("SELECT count(*) FROM unit WHERE stage=? AND state='done'", report.stage)
    ):
        worst = max(report.failures, key=report.failures.__getitem__) if report.failures else "unknown"
        example = project.store.value("SELECT error FROM unit WHERE stage=? AND state='failed' LIMIT 1", report.stage)
        raise EngineError(
            f"{report.stage}: all {report.failed:,} units failed, most of them as {worst}: {example}",
            "Look at the raw answers in the page or the database; --retry-failed asks again.",
        )


def check_prompts(project: Project) -> None:
    """All prompts, before the first call costs anything."""
    for stage in ("clean", "ask", "answer", "refuse", "dialogue", "knowledge", "judge"):
        for language in ("en", "zh"):
            prompt_of(project.recipe, stage, language)
    endpoint = project.recipe.endpoint
    if not (endpoint.base_url and endpoint.model):
        raise ConfigError("endpoint.base_url and endpoint.model are not both set.", f"Set them in {project.recipe_file}.")
    if not endpoint.base_url.startswith(("http://", "https://")):
        raise ConfigError(
            f'endpoint.base_url is "{endpoint.base_url}".', "It begins with http:// or https://, and mostly ends with /v1."
        )
