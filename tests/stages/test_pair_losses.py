"""Each loss over pairs against its formula written out in plain floats, and its gradient by finite differences."""

import math

import pytest
import torch

from luthier.stages.pair_losses import LOSSES, Pairs, Strength, bco

BETA, SMOOTHING, GAMMA = 0.3, 0.1, 0.7
SEEN = {"chosen_ratio": 0.8, "rejected_ratio": -0.4}


def logs(x: float) -> float:
    return -math.log1p(math.exp(-x))


def s(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def smoothed(x: float, e: float = SMOOTHING) -> float:
    return -(1 - e) * logs(x) - e * logs(-x)


def log_odds(mean_logp: float) -> float:
    return mean_logp - math.log(1 - math.exp(mean_logp))


def by_hand(name: str, c, r, qc, qr, nc, nr) -> float:
    """c, r: the policy's sums; qc, qr: the reference's; nc, nr: numbers of tokens."""
    d = (c - qc) - (r - qr)
    return {
        "sigmoid": smoothed(BETA * d),
        "hinge": max(0.0, 1 - BETA * d),
        "ipo": ((c - qc) / nc - (r - qr) / nr - 1 / (2 * BETA)) ** 2,
        "robust": (-(1 - SMOOTHING) * logs(BETA * d) + SMOOTHING * logs(-BETA * d)) / (1 - 2 * SMOOTHING),
        "kto_pair": (1 - s(BETA * (c - qc - 0.0)) + 1 - s(BETA * (0.8 - (r - qr)))) / 2,
        "orpo": -c / nc - BETA * logs(log_odds(c / nc) - log_odds(r / nr)),
        "simpo": smoothed(BETA * (c / nc - r / nr) - GAMMA),
        "cpo": smoothed(BETA * (c - r)) - c / nc,
        "bco": -logs(BETA * (c - qc) - BETA * 0.2) - logs(BETA * 0.2 - BETA * (r - qr)),
    }[name]


def random_pairs(seed: int = 0, count: int = 6) -> Pairs:
    generator = torch.Generator().manual_seed(seed)

    def draw(low: float, high: float):
        return torch.rand(count, generator=generator, dtype=torch.float64) * (high - low) + low

    sums = {name: draw(-30, -2).requires_grad_() for name in ("chosen", "rejected")}
    references = {name: draw(-30, -2) for name in ("chosen_ref", "rejected_ref")}
    lengths = {name: draw(2, 20).round() for name in ("chosen_len", "rejected_len")}
    return Pairs(**sums, **references, **lengths)


STRENGTH = Strength(beta=BETA, smoothing=SMOOTHING, gamma=GAMMA, seen=SEEN)
ALL = LOSSES | {"bco": bco}


@pytest.mark.parametrize("name", ALL)
def test_loss_is_the_formula(name):
    pairs = random_pairs()
    found = ALL[name](pairs, STRENGTH)
    columns = (pairs.chosen, pairs.rejected, pairs.chosen_ref, pairs.rejected_ref, pairs.chosen_len, pairs.rejected_len)
    expected = [by_hand(name, *row) for row in zip(*(column.tolist() for column in columns))]
    assert found.tolist() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("name", ALL)
def test_gradient_is_that_of_finite_differences(name):
    pairs = random_pairs(seed=3)

    def loss(chosen, rejected):
        moved = Pairs(
            chosen=chosen,
            rejected=rejected,
            chosen_ref=pairs.chosen_ref,
            rejected_ref=pairs.rejected_ref,
            chosen_len=pairs.chosen_len,
            rejected_len=pairs.rejected_len,
        )
        return ALL[name](moved, STRENGTH).sum()

    assert torch.autograd.gradcheck(loss, (pairs.chosen, pairs.rejected))


def test_orpo_is_finite_where_the_model_is_certain():
    """Log-probability 0 has infinite odds; float32 must neither give inf nor nan."""
    zero, far, one = torch.zeros(1, requires_grad=True), torch.full((1,), -80.0), torch.ones(1)
    pairs = Pairs(chosen=zero, rejected=far, chosen_ref=one * 0, rejected_ref=one * 0, chosen_len=one, rejected_len=one)
    loss = LOSSES["orpo"](pairs, STRENGTH).sum()
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(zero.grad).all()
