"""Logits of the next token in, one token id a row out: penalties, temperature, top-k, top-p, min-p as their makers define them.

Every row has its own settings and its own random numbers, so an answer does not depend on what runs beside it. The order is
that of transformers: penalties, temperature, top-k, top-p, min-p. Where a row keeps few candidates no vocabulary is sorted.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch
from torch import Tensor

from luthier.engines.base import Sampling, TokenLogprob
from luthier.engines.grammar import Guide

FEW = 1024
"""Candidates that are looked at before a whole vocabulary is sorted for top-p; they nearly always hold enough."""

TIES = 16
"""Tokens beyond the k-th that are looked at because they may equal it: top-k keeps all that tie with the k-th."""


class Chooser:
    """The settings of the rows of one batch as tensors; made anew whenever the batch changes.

    prompts, answers: token ids of each row so far.  rngs: each row's own random numbers.
    guides: what each row's answer has to look like, None for anything.
    """

    def __init__(
        self,
        samplings: Sequence[Sampling],
        prompts: Sequence[Sequence[int]],
        answers: Sequence[Sequence[int]],
        rngs: Sequence[random.Random],
        vocabulary: int,
        device: torch.device,
        guides: Sequence[Guide | None] = (),
    ):
        self._samplings, self._rngs = samplings, rngs
        self._guides = [(row, guide) for row, guide in enumerate(guides) if guide is not None]
        self._biases = [(row, sampling.logit_bias) for row, sampling in enumerate(samplings) if sampling.logit_bias]
        self._sampled = [row for row, sampling in enumerate(samplings) if not sampling.greedy]
        drawn = [samplings[row] for row in self._sampled]
        self._temperature_B = _column([s.temperature for s in drawn], torch.float32, device)
        self._top_k_B = _column([s.top_k for s in drawn], torch.int64, device)
        self._top_p_B = _column([s.top_p for s in drawn], torch.float64, device)
        self._min_p_B = _column([s.min_p for s in drawn], torch.float64, device)
        self._penalties = None
        if any((s.repetition_penalty, s.presence_penalty, s.frequency_penalty) != (1, 0, 0) for s in samplings):
            self._penalties = _Penalties(samplings, prompts, answers, vocabulary, device)

    def choose(self, logits_BV: Tensor) -> tuple[list[int], list[TokenLogprob | None]]:
        """One token a row, and its log-probabilities where they were asked for. logits_BV: float32, may be written to."""
        scores_BV = self._penalties.apply(logits_BV) if self._penalties else logits_BV
        if self._biases or self._guides:
            scores_BV = self._bend(scores_BV.clone() if scores_BV is logits_BV else scores_BV)
        if len(self._sampled) < len(scores_BV):
            ids_B = scores_BV.argmax(-1)
        else:
            ids_B = torch.empty(len(scores_BV), dtype=torch.int64, device=scores_BV.device)
        if self._sampled:
            every = len(self._sampled) == len(scores_BV)
            uniforms = [self._rngs[row].random() for row in self._sampled]
            ids_B[self._sampled] = draw(
                scores_BV if every else scores_BV[self._sampled],
                self._temperature_B,
                self._top_k_B,
                self._top_p_B,
                self._min_p_B,
                _column(uniforms, torch.float64, scores_BV.device),
            )
        if self._penalties:
            self._penalties.count(ids_B)
        ids = ids_B.tolist()
        return ids, self._logprobs(logits_BV, ids)

    def _bend(self, scores_BV: Tensor) -> Tensor:
        """Add what was asked to be added, and forbid what a grammar does not allow; in place."""
        for row, bias in self._biases:
            for id, value in bias:
                scores_BV[row, id] += value
        for row, guide in self._guides:
            scores_BV[row].masked_fill_(~guide.allowed(scores_BV.shape[1]).to(scores_BV.device), float("-inf"))
        return scores_BV

    def _logprobs(self, logits_BV: Tensor, ids: list[int]) -> list[TokenLogprob | None]:
        found: list[TokenLogprob | None] = [None] * len(ids)
        rows = [row for row, sampling in enumerate(self._samplings) if sampling.logprobs is not None]
        if not rows:
            return found
        logprobs_RV = logits_BV[rows].log_softmax(-1)
        for row, logprobs_V in zip(rows, logprobs_RV):
            values, tokens = logprobs_V.topk(min(self._samplings[row].logprobs, len(logprobs_V)))
            top = tuple(zip(tokens.tolist(), values.tolist()))
            found[row] = TokenLogprob(id=ids[row], logprob=logprobs_V[ids[row]].item(), top=top)
        return found


def draw(
    logits_BV: Tensor, temperature_B: Tensor, top_k_B: Tensor, top_p_B: Tensor, min_p_B: Tensor, uniform_B: Tensor
) -> Tensor:
    """One id a row, shape (B,), drawn by inverting the distribution at uniform_B in [0, 1). Columns have shape (B, 1)."""
    vocabulary = logits_BV.shape[1]
    scores_BV = logits_BV / temperature_B
    narrow = ((top_k_B > 0) & (top_k_B <= FEW))[:, 0]
    if narrow.all():
        wanted = min(int(top_k_B.max()) + TIES, vocabulary)
        return _draw_from_best(scores_BV, wanted, top_k_B, top_p_B, min_p_B, uniform_B)[0]
    ids_B = torch.empty(len(logits_BV), dtype=torch.int64, device=logits_BV.device)
    uncut = ((top_k_B == 0) & (top_p_B >= 1))[:, 0]
    for rows in (narrow, ~narrow & ~uncut):
        if rows.any():
            settings = [column[rows] for column in (top_k_B, top_p_B, min_p_B, uniform_B)]
            chosen, enough = _draw_from_best(scores_BV[rows], min(FEW + TIES, vocabulary), *settings)
            if not enough.all():
                chosen, _ = _draw_from_best(scores_BV[rows], vocabulary, *settings)
            ids_B[rows] = chosen
    if uncut.any():
        ids_B[uncut] = _draw_from_all(scores_BV[uncut], min_p_B[uncut], uniform_B[uncut])
    return ids_B


def _draw_from_all(scores_BV: Tensor, min_p_B: Tensor, uniform_B: Tensor) -> Tensor:
    """Without top-k and top-p no candidate has to be ranked, so nothing is sorted."""
    probs_BV = scores_BV.double().softmax(-1)
    probs_BV *= probs_BV >= min_p_B * probs_BV.amax(-1, keepdim=True)
    return _invert(probs_BV, uniform_B)[:, 0]


def _invert(weights_BK: Tensor, uniform_B: Tensor) -> Tensor:
    """The first index whose running sum passes uniform x total, shape (B, 1); never one of weight 0."""
    sums_BK = weights_BK.cumsum(-1)
    index_B = torch.searchsorted(sums_BK, uniform_B * sums_BK[:, -1:], right=True)
    last_B = weights_BK.shape[1] - 1 - (weights_BK > 0).flip(-1).int().argmax(-1, keepdim=True)
    return torch.minimum(index_B, last_B)


def _draw_from_best(
    scores_BV: Tensor, best: int, top_k_B: Tensor, top_p_B: Tensor, min_p_B: Tensor, uniform_B: Tensor
) -> tuple[Tensor, Tensor]:
    """(ids, whether the best K candidates held everything that top-k and top-p keep), each of shape (B,)."""
    vocabulary = scores_BV.shape[1]
    scores_BK, ids_BK = scores_BV.sort(-1, descending=True) if best == vocabulary else scores_BV.topk(best, -1)
    kth_B = scores_BK.gather(1, (top_k_B.clamp(1, best) - 1))
    limited_B = (top_k_B > 0) & (top_k_B <= best)
    kept_BK = ~limited_B | (scores_BK >= kth_B)
    # the probabilities that top-p adds up are those after top-k
    total_B = torch.where(
        limited_B,
        scores_BK.masked_fill(~kept_BK, float("-inf")).logsumexp(-1, keepdim=True),
        scores_BV.logsumexp(-1, keepdim=True),
    )
    probs_BK = torch.exp((scores_BK - total_B).double()) * kept_BK
    above_BK = probs_BK.cumsum(-1) - probs_BK  # the probability of all better candidates
    held_B = torch.where(top_p_B < 1, above_BK[:, -1:] + probs_BK[:, -1:] >= top_p_B, best == vocabulary)
    enough_B = (limited_B | ((top_k_B == 0) & held_B))[:, 0]
    kept_BK &= (above_BK < top_p_B) | (top_p_B >= 1)
    kept_BK &= probs_BK >= min_p_B * probs_BK[:, :1]
    kept_BK[:, 0] = True
    return ids_BK.gather(1, _invert(probs_BK * kept_BK, uniform_B))[:, 0], enough_B


class _Penalties:
    """Which tokens each row has seen, and how often it has answered with each."""

    def __init__(
        self,
        samplings: Sequence[Sampling],
        prompts: Sequence[Sequence[int]],
        answers: Sequence[Sequence[int]],
        vocabulary: int,
        device: torch.device,
    ):
        self._repetition_B = _column([s.repetition_penalty for s in samplings], torch.float32, device)
        self._presence_B = _column([s.presence_penalty for s in samplings], torch.float32, device)
        self._frequency_B = _column([s.frequency_penalty for s in samplings], torch.float32, device)
        self._prompt_BV = torch.zeros(len(samplings), vocabulary, dtype=torch.bool, device=device)
        self._counts_BV = torch.zeros(len(samplings), vocabulary, dtype=torch.float32, device=device)
        for row, (prompt, answer) in enumerate(zip(prompts, answers)):
            # an embedding may be longer than the head: what the head cannot say needs no penalty
            self._prompt_BV[row, [id for id in set(prompt) if id < vocabulary]] = True
            self._counts_BV[row] = torch.bincount(torch.tensor(answer, dtype=torch.int64), minlength=vocabulary)[:vocabulary]

    def apply(self, logits_BV: Tensor) -> Tensor:
        said_BV = self._counts_BV > 0
        scaled_BV = torch.where(logits_BV < 0, logits_BV * self._repetition_B, logits_BV / self._repetition_B)
        scores_BV = torch.where(self._prompt_BV | said_BV, scaled_BV, logits_BV)
        return scores_BV - self._frequency_B * self._counts_BV - self._presence_B * said_BV

    def count(self, ids_B: Tensor) -> None:
        self._counts_BV[torch.arange(len(ids_B), device=ids_B.device), ids_B] += 1


def _column(values: Sequence[float], dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.tensor(values, dtype=dtype, device=device).unsqueeze(1)
