"""What a job will cost: before it from the lengths of its prompts, after a pilot from what the pilot used."""

from __future__ import annotations

from collections.abc import Sequence

from luthier.documents.jobs.engine import JobReport, Work
from luthier.documents.recipe import EndpointPart
from luthier.documents.sentences import estimate_tokens
from luthier.runtime.progress import duration

SAMPLE = 50
LIKELY_OUT = {"clean": 500, "ask": 250, "answer": 400, "dialogue": 900, "judge": 120, "weaker": 400}
"""Tokens of an answer where nothing was measured yet."""


def estimate_before(work: Work, units: Sequence[str], endpoint: EndpointPart) -> str:
    """One line, from up to 50 prompts."""
    if not units:
        return f"{work.stage}: nothing to ask"
    step = max(1, len(units) // SAMPLE)
    sizes = [sum(estimate_tokens(m["content"]) for m in work.request(unit)["messages"]) for unit in units[::step]]
    tokens_in = round(sum(sizes) / len(sizes) * len(units))
    likely = LIKELY_OUT.get(work.stage, 300) * len(units)
    return (
        f"{work.stage}: {len(units):,} calls, about {tokens_in:,} tokens in and {likely // 2:,} to {likely * 2:,} out"
        f"{_money(tokens_in, likely, endpoint)} (estimate)"
    )


def estimate_after(report: JobReport, left: int, endpoint: EndpointPart) -> str:
    """One line for what is left, from what a pilot used."""
    done = max(1, report.done + report.failed)
    tokens_in, tokens_out = report.tokens_in * left // done, report.tokens_out * left // done
    time = duration(report.seconds / done * left)
    bad = f", {report.failed} of {done} failed" if report.failed else ""
    return (
        f"{report.stage}: pilot of {done}{bad}; {left:,} calls are left, about {tokens_in:,} tokens in and {tokens_out:,} out"
        f"{_money(tokens_in, tokens_out, endpoint)}, {time}"
    )


def _money(tokens_in: int, tokens_out: int, endpoint: EndpointPart) -> str:
    if not (endpoint.price_in or endpoint.price_out):
        return ""
    return f", about {(tokens_in * endpoint.price_in + tokens_out * endpoint.price_out) / 1e6:.2f} in money"
