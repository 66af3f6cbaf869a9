"""What Prometheus may ask: counts, times and what is under way now.

Enters: finished requests. Leaves: the text of /metrics. Each server has a registry of its own.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

if TYPE_CHECKING:
    from luthier.engines.driver import Driver
    from luthier.serving.gate import Gate

FIRST_TOKEN_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
REQUEST_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class Metrics:
    def __init__(self, driver: Driver, gate: Gate):
        self._registry = registry = CollectorRegistry()
        self.requests = Counter("luthier_requests", "Requests by path and status.", ["path", "status"], registry=registry)
        self.prompt_tokens = Counter("luthier_prompt_tokens", "Tokens of prompts.", registry=registry)
        self.answer_tokens = Counter("luthier_generated_tokens", "Tokens of answers.", registry=registry)
        self.finished = Counter("luthier_answers", "Answers by the reason of their end.", ["reason"], registry=registry)
        self.first_token = Histogram(
            "luthier_time_to_first_token_seconds", "From request to first token.", buckets=FIRST_TOKEN_S, registry=registry
        )
        self.duration = Histogram("luthier_request_seconds", "Length of requests.", buckets=REQUEST_S, registry=registry)
        for name, says, value in (
            ("luthier_requests_running", "Requests being answered.", lambda: gate.running),
            ("luthier_requests_waiting", "Requests in the queue.", lambda: gate.waiting),
            ("luthier_answers_running", "Answers in the engine's batch.", lambda: driver.num_running),
        ):
            Gauge(name, says, registry=registry).set_function(value)

    def text(self) -> bytes:
        return generate_latest(self._registry)

    def watch(self, prompt_tokens: int) -> Watch:
        """For one answer that begins now."""
        self.prompt_tokens.inc(prompt_tokens)
        return Watch(self)


class Watch:
    """One request, from its prompt to its end."""

    def __init__(self, metrics: Metrics):
        self._metrics, self._began, self._seen = metrics, time.monotonic(), False

    def token(self) -> None:
        if not self._seen:
            self._seen = True
            self._metrics.first_token.observe(time.monotonic() - self._began)

    def finish(self, reason: str, tokens: int) -> None:
        self._metrics.finished.labels(reason).inc()
        self._metrics.answer_tokens.inc(tokens)
