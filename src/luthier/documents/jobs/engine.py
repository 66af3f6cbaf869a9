"""A job: many units, one call each, through a queue that survives everything.

Enters: a Work (what to ask, and what to make of an answer) and an endpoint. Leaves: results in the store and a true report.
- The raw answer is committed before it is read; what a request was once answered is never asked again (request_hash).
- A unit is done only in the transaction that stores what was made of its answer. After a crash the calls that were in the air
  are the only ones that are made again.
- Overload waits, with back-off and the server's own Retry-After; refusals of key, credit or model stop the job with the reason.
- A job with failures says so; nothing is called done that is not.
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from luthier.documents.base import digest
from luthier.documents.jobs.client import Client
from luthier.documents.jobs.faults import Fault, fault_of_error, fault_of_status
from luthier.documents.jobs.keys import find_key, hide
from luthier.documents.jobs.limits import Limiter
from luthier.documents.jobs.reply import BadReply, Reply, read_reply
from luthier.documents.project import Project
from luthier.documents.recipe import EndpointPart
from luthier.documents.sentences import estimate_tokens
from luthier.runtime.processes import this_process

FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 60.0
FAULTS_IN_A_ROW = 30
WATCH_S = 0.5
LIKELY_TOKENS = 2048
"""Of an answer, for limits and budget, where the recipe sets no max_tokens."""


class Work(Protocol):
    """What a stage asks. recipe: hash of everything that shapes its requests and results."""

    stage: str
    recipe: str

    def subjects(self) -> Sequence[str]:
        """Ids of what there is to do, in the order in which it should be asked."""
        ...

    def request(self, subject: str) -> dict[str, Any]:
        """The body of the call."""
        ...

    def schema(self, subject: str) -> Mapping[str, Any] | None:
        """The JSON schema of the answer; None where it is no JSON."""
        ...

    def keep(self, subject: str, reply: Reply, call: str) -> None:
        """Store what the answer means, within the transaction that is open. Raises BadReply."""
        ...


@dataclass(slots=True, kw_only=True)
class JobReport:
    """state: done, done with failures, paused or out of budget.  calls: made now; cached: answered from the store."""

    stage: str
    state: str = "done"
    reason: str = ""
    done: int = 0
    failed: int = 0
    left: int = 0
    calls: int = 0
    cached: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    seconds: float = 0.0
    failures: dict[str, int] = field(default_factory=dict)


class _UnitFailed(Exception):
    def __init__(self, code: str, message: str):
        self.code = code
        super().__init__(message)


class _Stop(Exception):
    def __init__(self, state: str, reason: str):
        self.state = state
        super().__init__(reason)


def run_job(
    project: Project,
    work: Work,
    *,
    limit: int | None = None,
    retry_failed: bool = False,
    progress: Callable[[int, int, str], None] | None = None,
) -> JobReport:
    """Work through the units that are not done. limit: at most so many (a pilot).  progress: (done, total, spent)."""
    return asyncio.run(_Job(project, work, progress).run(limit, retry_failed))


class _Job:
    def __init__(self, project: Project, work: Work, progress: Callable[[int, int, str], None] | None):
        self.project, self.store, self.work, self.progress = project, project.store, work, progress
        self.endpoint: EndpointPart = project.recipe.endpoint
        self.key = find_key(self.endpoint.api_key_env)
        limits = self.endpoint
        self.limiter = Limiter(limits.concurrency, limits.requests_per_minute, limits.tokens_per_minute)
        self.report = JobReport(stage=work.stage)
        self.stop: _Stop | None = None
        self.reserved = 0
        self.faults_in_a_row = 0
        self.in_flight: dict[str, asyncio.Future[bytes]] = {}
        row = self.store.one("SELECT coalesce(sum(tokens_in),0), coalesce(sum(tokens_out),0) FROM llm_call")
        self.spent = [int(row[0]), int(row[1])] if row else [0, 0]

    async def run(self, limit: int | None, retry_failed: bool) -> JobReport:
        began = time.monotonic()
        units = self._units(limit, retry_failed)
        self.total = len(units)
        process = this_process()
        values = {"stage": self.work.stage, "recipe": self.work.recipe, "state": "running", "began": _now()}
        self.store.put("job", **values, pid=process["pid"], pid_started=process["pid_started"])
        self.job = int(self.store.value("SELECT max(id) FROM job"))  # type: ignore[arg-type]
        queue = iter(units)
        async with Client(self.endpoint, self.key) as self.client:
            watch = asyncio.create_task(self._watch())
            workers = [
                asyncio.create_task(self._worker(queue)) for _ in range(min(self.endpoint.concurrency, max(1, len(units))))
            ]
            try:
                await asyncio.gather(*workers)
            finally:
                watch.cancel()
                for worker in workers:
                    worker.cancel()
        return self._finish(began)

    def _units(self, limit: int | None, retry_failed: bool) -> list[tuple[str, str]]:
        """(unit, subject) of what is left. Units that a dead process had begun are simply left over: only done counts."""
        work, store = self.work, self.store
        wanted = {digest("unit", work.stage, work.recipe, subject)[:24]: subject for subject in work.subjects()}
        with store.writing() as db:
            sql = "INSERT OR IGNORE INTO unit (id, stage, subject, recipe) VALUES (?,?,?,?)"
            db.executemany(sql, [(unit, work.stage, subject, work.recipe) for unit, subject in wanted.items()])
            if retry_failed:
                failed = store.all("SELECT id FROM unit WHERE stage=? AND recipe=? AND state='failed'", work.stage, work.recipe)
                now = f":old:{int(time.time())}"
                sql = "UPDATE llm_call SET request_hash=request_hash||? WHERE unit=? AND request_hash NOT LIKE '%:%'"
                db.executemany(sql, [(now, row["id"]) for row in failed])  # of no use: kept, but asked anew
                again = "UPDATE unit SET state='queued', attempts=0 WHERE id=?"
                db.executemany(again, [(row["id"],) for row in failed])
        states = dict(store.all("SELECT id, state FROM unit WHERE stage=? AND recipe=?", work.stage, work.recipe))
        left = [(unit, subject) for unit, subject in wanted.items() if states[unit] == "queued"]
        self.wanted = list(wanted)
        return left[:limit] if limit is not None else left

    async def _worker(self, queue: Any) -> None:
        for unit, subject in queue:
            if self.stop:
                return
            try:
                await self._unit(unit, subject)
            except _UnitFailed as failure:
                self.report.failures[failure.code] = self.report.failures.get(failure.code, 0) + 1
                message = hide(str(failure), self.key)
                self.store.write(
                    "UPDATE unit SET state='failed', job=?, error_code=?, error=? WHERE id=?",
                    self.job,
                    failure.code,
                    message,
                    unit,
                )
                self.report.failed += 1
            except _Stop as stop:
                self.stop = self.stop or stop
                return
            else:
                self.report.done += 1
            if self.progress:
                self.progress(self.report.done + self.report.failed, self.total, self._spent_text())

    async def _unit(self, unit: str, subject: str) -> None:
        body = self._body(self.work.request(subject), self.work.schema(subject))
        call, raw = await self._ask(unit, body)
        try:
            self._keep(unit, subject, call, raw)
        except BadReply as bad:
            again = body | {"messages": [*body["messages"], *_complaint(raw, bad)]}
            call, raw = await self._ask(unit, again)
            try:
                self._keep(unit, subject, call, raw)
            except BadReply as worse:
                raise _UnitFailed(worse.code, f"{worse} (asked twice; the raw answers are kept)") from None

    def _body(self, request: dict[str, Any], schema: Mapping[str, Any] | None) -> dict[str, Any]:
        endpoint = self.endpoint
        body: dict[str, Any] = {"model": endpoint.model}
        if endpoint.max_tokens is not None:
            body["max_tokens"] = endpoint.max_tokens
        if endpoint.temperature is not None:
            body["temperature"] = endpoint.temperature
        if schema is not None and endpoint.json_mode == "object":
            body["response_format"] = {"type": "json_object"}
        if schema is not None and endpoint.json_mode == "schema":
            body["response_format"] = {"type": "json_schema", "json_schema": {"name": self.work.stage, "schema": schema}}
        return body | dict(endpoint.extra_body) | request

    def _keep(self, unit: str, subject: str, call: str, raw: bytes) -> None:
        """What the answer means, and that the unit is done, in one transaction."""
        with self.store.writing():
            self.work.keep(subject, read_reply(raw), call)
            self.store.write(
                "UPDATE unit SET state='done', job=?, call=?, error_code=NULL, error=NULL WHERE id=?", self.job, call, unit
            )

    async def _ask(self, unit: str, body: Mapping[str, Any]) -> tuple[str, bytes]:
        """(request_hash, raw answer), from the store where it was asked before."""
        request = json.dumps(body, ensure_ascii=False, sort_keys=True)
        call = digest(self.endpoint.base_url, request)
        if row := self.store.one("SELECT response FROM llm_call WHERE request_hash=?", call):
            with suppress(BadReply):
                read_reply(bytes(row["response"]))
                self.report.cached += 1
                return call, bytes(row["response"])
            self._set_aside(call)  # a process was killed before it could see that this is no answer
        if call in self.in_flight:  # two units with the same words: one call
            return call, await asyncio.shield(self.in_flight[call])
        self.in_flight[call] = asyncio.get_running_loop().create_future()
        try:
            raw = await self._call(unit, call, request, body)
        except BaseException as error:
            self.in_flight[call].set_exception(error)
            with suppress(BaseException):
                self.in_flight[call].exception()  # nobody may be waiting
            raise
        finally:
            waiting = self.in_flight.pop(call)
        waiting.set_result(raw)
        return call, raw

    async def _call(self, unit: str, call: str, request: str, body: Mapping[str, Any]) -> bytes:
        estimate = estimate_tokens(request) + int(body.get("max_tokens") or LIKELY_TOKENS)
        for attempt in range(1, self.endpoint.max_attempts + 1):
            async with self.limiter.slot(estimate):
                if self.stop:
                    raise self.stop
                self._check_budget(estimate)
                self.reserved += estimate
                try:
                    fault, raw = await self._send(unit, call, request, body)
                finally:
                    self.reserved -= estimate
            if fault is None:
                self.faults_in_a_row = 0
                self.limiter.succeeded()
                return raw
            self.store.write(
                "UPDATE unit SET attempts=?, error_code=?, error=? WHERE id=?",
                attempt,
                fault.code,
                hide(fault.message, self.key),
                unit,
            )
            if fault.action == "stop":
                raise _Stop("paused", hide(fault.message, self.key))
            if fault.action == "fail":
                raise _UnitFailed(fault.code, fault.message)
            self.faults_in_a_row += 1
            if self.faults_in_a_row >= FAULTS_IN_A_ROW:
                raise _Stop(
                    "paused", f"{self.faults_in_a_row} calls in a row failed; the last: {hide(fault.message, self.key)}"
                )
            if fault.code != "connection":
                self.limiter.overloaded(fault.wait_s)
            if attempt < self.endpoint.max_attempts:
                await self._sleep(max(fault.wait_s, _backoff(attempt)))
        raise _UnitFailed(fault.code, f"{fault.message} ({attempt} attempts)")

    async def _send(self, unit: str, call: str, request: str, body: Mapping[str, Any]) -> tuple[Fault | None, bytes]:
        """One call. What came is committed before anything looks at it."""
        try:
            answer = await self.client.send(body)
        except self.client.errors as error:
            return fault_of_error(error), b""
        self.report.calls += 1
        if not 200 <= answer.status < 300:
            return fault_of_status(answer.status, answer.headers, answer.body), b""
        values = {"stage": self.work.stage, "unit": unit, "base_url": self.endpoint.base_url, "model": str(body["model"])}
        values |= {"request": request.encode(), "response": answer.body, "http": answer.status, "ms": answer.ms, "at": _now()}
        guess = {"tokens_in": estimate_tokens(request), "tokens_out": len(answer.body) // 4}
        self.store.put("llm_call", request_hash=call, **guess, **values)
        try:
            reply = read_reply(answer.body)
        except BadReply as bad:  # a proxy's page, half a body: kept for a person, but no answer to this request
            self._set_aside(call)
            return Fault("again", bad.code, f"HTTP {answer.status}, but {bad}"), b""
        used = (
            reply.tokens_in or estimate_tokens(request),
            reply.tokens_out or estimate_tokens(reply.text + (reply.thinking or "")),
        )
        self.store.write("UPDATE llm_call SET tokens_in=?, tokens_out=? WHERE request_hash=?", *used, call)
        self.spent[0] += used[0]
        self.spent[1] += used[1]
        self.report.tokens_in += used[0]
        self.report.tokens_out += used[1]
        return None, answer.body

    def _set_aside(self, call: str) -> None:
        """Keep a raw answer for a person, but not as the answer to its request."""
        self.store.write("UPDATE llm_call SET request_hash=? WHERE request_hash=?", f"{call}:{_now()}", call)

    def _check_budget(self, estimate: int) -> None:
        budget = self.project.recipe.budget
        tokens = sum(self.spent) + self.reserved
        if budget.tokens is not None and tokens + estimate > budget.tokens:
            raise _Stop(
                "out of budget",
                f"{sum(self.spent):,} of {budget.tokens:,} tokens are spent; the next call may need {estimate:,}",
            )
        dearest = max(self.endpoint.price_in, self.endpoint.price_out) / 1e6
        if budget.money is not None and self.money() + (self.reserved + estimate) * dearest > budget.money:
            raise _Stop(
                "out of budget", f"{self.money():.4f} of {budget.money:g} is spent, and calls in the air may cost the rest"
            )

    def money(self) -> float:
        return (self.spent[0] * self.endpoint.price_in + self.spent[1] * self.endpoint.price_out) / 1e6

    def _spent_text(self) -> str:
        money = f", {self.money():.3f} spent" if self.endpoint.price_in or self.endpoint.price_out else ""
        return f"{sum(self.spent):,} tokens{money}"

    async def _sleep(self, seconds: float) -> None:
        """As long as nobody stops the job."""
        until = time.monotonic() + seconds
        while not self.stop and (left := until - time.monotonic()) > 0:
            await asyncio.sleep(min(left, WATCH_S))

    async def _watch(self) -> None:
        """Ctrl-C, and the wish of another process (the page) in job.wanted: calls in the air are finished, none is begun."""

        def pause() -> None:
            if self.stop:  # the second time: at once
                raise KeyboardInterrupt
            self.stop = _Stop("paused", "stopped by you")

        with suppress(NotImplementedError, RuntimeError, ValueError):  # Windows, or not the main thread
            asyncio.get_running_loop().add_signal_handler(signal.SIGINT, pause)
        while True:
            await asyncio.sleep(WATCH_S)
            if not self.stop and self.store.value("SELECT wanted FROM job WHERE id=?", self.job) == "pause":
                self.stop = _Stop("paused", "stopped by you")

    def _finish(self, began: float) -> JobReport:
        report, work = self.report, self.work
        states = dict(self.store.all("SELECT id, state FROM unit WHERE stage=? AND recipe=?", work.stage, work.recipe))
        report.left = sum(states[unit] == "queued" for unit in self.wanted)
        failed = sum(states[unit] == "failed" for unit in self.wanted)
        report.failed = failed
        report.seconds = time.monotonic() - began
        if self.stop:
            report.state, report.reason = self.stop.state, str(self.stop)
        elif failed:
            report.state, report.reason = "done with failures", f"{failed:,} failed"
        self.store.write("UPDATE job SET state=?, reason=?, ended=? WHERE id=?", report.state, report.reason, _now(), self.job)
        return report


def _complaint(raw: bytes, bad: BadReply) -> list[dict[str, str]]:
    """The answer and what is wrong with it, as the next two turns."""
    try:
        said = read_reply(raw).text
    except BadReply:
        said = ""
    return [
        {"role": "assistant", "content": said[:4000] or "(empty)"},
        {"role": "user", "content": f"This cannot be used: {bad}."},
    ]


def _backoff(attempt: int) -> float:
    """Half a second, doubling, with jitter, so that workers do not come back together."""
    return min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** (attempt - 1)) * random.uniform(0.5, 1.5)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
