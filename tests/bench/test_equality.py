"""The checks pass for equal work and fail for each way of doing less."""

from dataclasses import replace

import pytest
from bench.equality import Checks, same_learning, same_steps
from bench.sides import StepRow

STEPS = [
    StepRow(step=n, time_s=float(n), cpu_s=float(n), loss=8.0 - n / 10, grad_norm=0.5, tokens=100 * n) for n in range(1, 6)
]
FIRST = {"luthier": 7.9, "peer": 7.9}


def judged(ours: list[StepRow], first=FIRST) -> bool:
    checks = Checks()
    same_steps(checks, {"luthier": ours, "peer": STEPS}, "peer", 500, first)
    return checks.passed


def test_equal_work_passes():
    assert judged(STEPS)
    assert judged([replace(row, loss=row.loss * (1 + 1e-5)) for row in STEPS])


@pytest.mark.parametrize(
    "change",
    [
        {"grad_norm": 0.0},
        {"grad_norm": float("nan")},
        {"tokens": 499},
        {"loss": 6.0},
    ],
)
def test_a_last_step_that_differs_fails(change):
    assert not judged([*STEPS[:-1], replace(STEPS[-1], **change)])


def test_fewer_steps_or_another_first_loss_fail():
    assert not judged(STEPS[:-1])
    assert not judged(STEPS, FIRST | {"luthier": 7.91})


def test_an_adapter_must_have_learned_as_much():
    def passes(loss: float) -> bool:
        checks = Checks()
        same_learning(checks, 8.0, {"peer": 7.0, "luthier": loss}, "peer")
        return checks.passed

    assert passes(7.05) and passes(6.9)
    assert not passes(8.0) and not passes(7.5) and not passes(5.0)
