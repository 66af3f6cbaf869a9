"""The losses over pairs of answers, as pure functions of sums of log-probabilities: name -> function of Pairs.

Notation of the docstrings: c and r are chosen and rejected, log p the policy's sum over an answer's tokens, log q the
reference's, |y| its number of tokens, D = (log p_c - log q_c) - (log p_r - log q_r), s the logistic function.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """Sums over the tokens of each answer, in nats, of shape (B,).

    chosen, rejected: the policy's.  chosen_ref, rejected_ref: the reference's (zeros where the loss needs none).
    chosen_len, rejected_len: how many tokens were summed.
    """

    chosen: Tensor
    rejected: Tensor
    chosen_ref: Tensor
    rejected_ref: Tensor
    chosen_len: Tensor
    rejected_len: Tensor

    @property
    def chosen_ratio(self) -> Tensor:
        return self.chosen - self.chosen_ref

    @property
    def rejected_ratio(self) -> Tensor:
        return self.rejected - self.rejected_ref

    @property
    def delta(self) -> Tensor:
        return self.chosen_ratio - self.rejected_ratio


@dataclass(frozen=True, slots=True, kw_only=True)
class Strength:
    """beta: pull to the reference, > 0.  smoothing: share of pairs that are thought to be the wrong way round, in [0, 0.5).
    gamma: SimPO's margin.  seen: means over the whole step, where a loss asks for them."""

    beta: float
    smoothing: float = 0.0
    gamma: float = 0.5
    seen: Mapping[str, float] | None = None


def sigmoid(p: Pairs, s: Strength) -> Tensor:
    """DPO: -log s(beta D); with smoothing e (cDPO) -(1 - e) log s(beta D) - e log s(-beta D).

    Eq. 7 of Rafailov et al. 2023, arXiv:2305.18290; smoothing: Mitchell 2023, "A note on DPO with noisy preferences".
    """
    return _smoothed(s.beta * p.delta, s.smoothing)


def robust(p: Pairs, s: Strength) -> Tensor:
    """(-(1 - e) log s(beta D) + e log s(-beta D)) / (1 - 2e): unbiased if a share e of the pairs is the wrong way round.

    Eq. 12 of Chowdhury et al. 2024, arXiv:2403.00409.
    """
    logits = s.beta * p.delta
    clean, flipped = -F.logsigmoid(logits), -F.logsigmoid(-logits)
    return ((1 - s.smoothing) * clean - s.smoothing * flipped) / (1 - 2 * s.smoothing)


def hinge(p: Pairs, s: Strength) -> Tensor:
    """max(0, 1 - beta D): SLiC's loss on DPO's margin. Section 3 of Liu et al. 2023, arXiv:2309.06657."""
    return torch.relu(1 - s.beta * p.delta)


def ipo(p: Pairs, s: Strength) -> Tensor:
    """(D' - 1 / (2 beta))^2, with D' of means over tokens instead of sums, as its authors advise.

    Eq. 17 of Azar et al. 2023, arXiv:2310.12036, where beta is called tau.
    """
    return (p.chosen_ratio / p.chosen_len - p.rejected_ratio / p.rejected_len - 1 / (2 * s.beta)) ** 2


def kto_pair(p: Pairs, s: Strength) -> Tensor:
    """Mean of 1 - s(beta (log p_c - log q_c - z_r)) and 1 - s(beta (z_c - log p_r + log q_r)).

    z_c, z_r: means over the step of the log-ratios of the chosen and the rejected answers, at least 0.
    Ethayarajh et al. 2024, arXiv:2402.01306, on pairs.
    """
    seen = s.seen or {}
    z_chosen, z_rejected = max(0.0, seen["chosen_ratio"]), max(0.0, seen["rejected_ratio"])
    wins = 1 - torch.sigmoid(s.beta * (p.chosen_ratio - z_rejected))
    losses = 1 - torch.sigmoid(s.beta * (z_chosen - p.rejected_ratio))
    return (wins + losses) / 2


def orpo(p: Pairs, s: Strength) -> Tensor:
    """-log p_c / |y_c| - beta log s(log odds_c - log odds_r), with odds(y) = P / (1 - P) and log P = log p / |y|.

    Eqs. 6 and 7 of Hong et al. 2024, arXiv:2403.07691, where beta is called lambda.
    """
    chosen, rejected = p.chosen / p.chosen_len, p.rejected / p.rejected_len
    log_odds = (chosen - rejected) - (_log1mexp(chosen) - _log1mexp(rejected))
    return -chosen - s.beta * F.logsigmoid(log_odds)


def simpo(p: Pairs, s: Strength) -> Tensor:
    """-log s(beta (log p_c / |y_c| - log p_r / |y_r|) - gamma), smoothed as DPO.

    Eq. 6 of Meng et al. 2024, arXiv:2405.14734.
    """
    return _smoothed(s.beta * (p.chosen / p.chosen_len - p.rejected / p.rejected_len) - s.gamma, s.smoothing)


def cpo(p: Pairs, s: Strength) -> Tensor:
    """-log s(beta (log p_c - log p_r)) - log p_c / |y_c|. Eq. 5 of Xu et al. 2024, arXiv:2401.08417."""
    return _smoothed(s.beta * (p.chosen - p.rejected), s.smoothing) - p.chosen / p.chosen_len


def bco(p: Pairs, s: Strength) -> Tensor:
    """-log s(beta (log p_c - log q_c) - d) - log s(d - beta (log p_r - log q_r)), d the mean of both rewards over the step.

    Jung et al. 2024, arXiv:2404.04656.
    """
    seen = s.seen or {}
    shift = s.beta * (seen["chosen_ratio"] + seen["rejected_ratio"]) / 2
    return -F.logsigmoid(s.beta * p.chosen_ratio - shift) - F.logsigmoid(shift - s.beta * p.rejected_ratio)


LOSSES: dict[str, Callable[[Pairs, Strength], Tensor]] = {
    "sigmoid": sigmoid,
    "hinge": hinge,
    "ipo": ipo,
    "robust": robust,
    "kto_pair": kto_pair,
    "orpo": orpo,
    "simpo": simpo,
    "cpo": cpo,
}
"""pref_loss -> the loss of each pair, shape (B,)."""

WITHOUT_REFERENCE = frozenset({"orpo", "simpo", "cpo"})
LOOKING_AHEAD = frozenset({"kto_pair"})


def _smoothed(logits: Tensor, smoothing: float) -> Tensor:
    loss = -F.logsigmoid(logits)
    return loss if not smoothing else (1 - smoothing) * loss - smoothing * F.logsigmoid(-logits)


def _log1mexp(x: Tensor) -> Tensor:
    """log(1 - exp(x)) for x < 0, exact near 0 and far from it; x is held below 0, where the odds are finite."""
    x = x.clamp(max=-torch.finfo(x.dtype).eps)
    near = torch.log(-torch.expm1(x))
    far = torch.log1p(-torch.exp(x))
    return torch.where(x > -0.6931472, near, far)
