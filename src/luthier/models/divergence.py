"""What whole next-token distributions say: entropy, and divergences between two models, a chunk of rows at a time.

The chunk is computed again in the backward pass, so that (tokens x vocabulary) floats are never held.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from luthier.models.logps import chunk_rows

Logits = Callable[[Tensor], Tensor]
"""Hidden states (n, H) -> logits (n, V) float32."""


@torch.no_grad()
def top_entropy(logits: Logits, hidden_NH: Tensor, vocabulary: int, top: int) -> Tensor:
    """Entropy in nats of the `top` likeliest tokens among themselves, (N,), at most log(top); without gradient."""
    pieces = []
    for hidden in hidden_NH.split(chunk_rows(vocabulary)):
        logps = logits(hidden).topk(min(top, vocabulary), dim=-1).values.log_softmax(-1)
        pieces.append(-(logps.exp() * logps).sum(-1))
    return torch.cat(pieces)


def token_divergence(
    student: Logits,
    student_NH: Tensor,
    teacher: Logits,
    teacher_NH: Tensor,
    vocabulary: int,
    *,
    beta: float = 0.0,
    temperature: float = 1.0,
) -> Tensor:
    """Generalised Jensen-Shannon divergence of teacher P and student Q at each position, in nats, (N,).

    beta 0: KL(P || Q) (forward).  beta 1: KL(Q || P) (reverse).  Between: beta KL(P || M) + (1 - beta) KL(Q || M) with
    M = beta P + (1 - beta) Q. Eq. 1 of Agarwal et al. 2023, arXiv:2306.13649. temperature divides both logits.
    Gradients flow to the student alone.
    """

    def piece(student_hidden: Tensor, teacher_hidden: Tensor) -> Tensor:
        q = (student(student_hidden) / temperature).log_softmax(-1)
        p = (teacher(teacher_hidden) / temperature).log_softmax(-1).detach()
        if beta in (0, 1):
            return _kl(p, q) if beta == 0 else _kl(q, p)
        weights = torch.tensor([beta, 1 - beta], device=q.device).log()
        m = torch.logsumexp(torch.stack([p + weights[0], q + weights[1]]), 0)
        return beta * _kl(p, m) + (1 - beta) * _kl(q, m)

    rows = chunk_rows(vocabulary)
    pieces = [checkpoint(piece, *hidden, use_reentrant=False) for hidden in zip(student_NH.split(rows), teacher_NH.split(rows))]
    return torch.cat(pieces)


def _kl(p_nV: Tensor, q_nV: Tensor) -> Tensor:
    """KL(p || q) of log-probabilities, (n,)."""
    return (p_nV.exp() * (p_nV - q_nV)).sum(-1)
