"""Log-probabilities of given tokens from hidden states, without ever holding (tokens x vocabulary) floats.

Rows are taken in chunks. Where the head is frozen (LoRA), the gradient of each log-probability with respect to its own
hidden state is made in the forward pass, while the chunk's probabilities are at hand: two matmuls a chunk in all, and the
backward pass is one multiplication. Where the head learns, the chunk is computed again in the backward pass.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

CHUNK_BYTES = 96 * 2**20
"""Float32 bytes of one chunk of logits."""


class Head(NamedTuple):
    """What turns hidden states into logits: scale * (h @ weight.T + bias), then softcap * tanh(x / softcap).

    weight: (V, H).  bias: (V,) or None.  scale: Cohere, Granite.  softcap: Gemma 2.
    """

    weight: Tensor
    bias: Tensor | None = None
    scale: float = 1.0
    softcap: float | None = None


def token_logps(hidden_NH: Tensor, head: Head, targets_N: Tensor, smoothing: float = 0.0) -> tuple[Tensor, Tensor]:
    """Log-probability of each target in nats (N,) float32, and whether it was the most likely token (N,) bool.

    smoothing: label smoothing e in [0, 1): (1 - e) log p(target) + e * mean over the vocabulary of log p
    (Szegedy et al. 2016, arXiv:1512.00567, section 7), as transformers' LabelSmoother has it.
    """
    return _TokenLogps.apply(hidden_NH, head.weight, head.bias, targets_N, head.scale, head.softcap, smoothing)


def chunk_rows(vocabulary: int) -> int:
    """How many rows of logits one chunk holds."""
    return max(16, CHUNK_BYTES // (4 * vocabulary))


def _logits(hidden: Tensor, weight: Tensor, bias: Tensor | None, scale: float, softcap: float | None) -> Tensor:
    logits = torch.nn.functional.linear(hidden, weight, bias).float()
    if scale != 1.0:
        logits *= scale
    if softcap is not None:
        logits.div_(softcap).tanh_().mul_(softcap)
    return logits


def _slope(logits: Tensor, probs: Tensor, targets: Tensor, scale: float, softcap: float | None, smoothing: float) -> Tensor:
    """d logp / d (h @ W.T + b), made in place of probs. Shapes (n, V)."""
    slope = probs.neg_()
    if smoothing:
        slope += smoothing / slope.shape[1]
    rows = torch.arange(len(targets), device=targets.device)
    slope[rows, targets] += 1.0 - smoothing
    if softcap is not None:
        slope *= 1 - (logits / softcap) ** 2
    if scale != 1.0:
        slope *= scale
    return slope


class _TokenLogps(torch.autograd.Function):
    @staticmethod
    def forward(ctx, hidden, weight, bias, targets, scale, softcap, smoothing):
        head_learns = ctx.needs_input_grad[1] or ctx.needs_input_grad[2]
        slope_wanted = ctx.needs_input_grad[0] and not head_learns
        logps = torch.empty(len(targets), dtype=torch.float32, device=hidden.device)
        hits = torch.empty(len(targets), dtype=torch.bool, device=hidden.device)
        gradient = torch.empty_like(hidden) if slope_wanted else None
        rows = chunk_rows(weight.shape[0])
        for start in range(0, len(targets), rows):
            piece = slice(start, start + rows)
            target = targets[piece]
            logits = _logits(hidden[piece], weight, bias, scale, softcap)
            wanted = logits.gather(1, target[:, None])[:, 0]
            top = logits.amax(1)
            hits[piece] = wanted == top
            score = wanted * (1 - smoothing) + logits.mean(1) * smoothing if smoothing else wanted
            kept = logits.clone() if slope_wanted and softcap is not None else logits
            exps = logits.sub_(top[:, None]).exp_()
            total = exps.sum(1)
            logps[piece] = score - top - total.log()
            if slope_wanted:
                slope = _slope(kept, exps.div_(total[:, None]), target, scale, softcap, smoothing)
                gradient[piece] = slope.to(weight.dtype) @ weight
        ctx.constants = (scale, softcap, smoothing)
        ctx.mark_non_differentiable(hits)
        if head_learns:
            ctx.save_for_backward(hidden, weight, bias, targets)
        else:
            ctx.save_for_backward(gradient)
        ctx.head_learns = head_learns
        return logps, hits

    @staticmethod
    def backward(ctx, upstream, _):
        if not ctx.head_learns:
            (gradient,) = ctx.saved_tensors
            scaled = None if gradient is None else gradient * upstream[:, None].to(gradient.dtype)
            return scaled, None, None, None, None, None, None
        hidden, weight, bias, targets = ctx.saved_tensors
        scale, softcap, smoothing = ctx.constants
        grad_hidden = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        grad_weight = torch.zeros_like(weight, dtype=torch.float32) if ctx.needs_input_grad[1] else None
        grad_bias = torch.zeros_like(bias, dtype=torch.float32) if ctx.needs_input_grad[2] else None
        rows = chunk_rows(weight.shape[0])
        for start in range(0, len(targets), rows):
            piece = slice(start, start + rows)
            logits = _logits(hidden[piece], weight, bias, scale, softcap)
            slope = _slope(logits, logits.softmax(1), targets[piece], scale, softcap, smoothing)
            slope *= upstream[piece, None]
            if grad_bias is not None:
                grad_bias += slope.sum(0)
            slope = slope.to(weight.dtype)
            if grad_hidden is not None:
                grad_hidden[piece] = slope @ weight
            if grad_weight is not None:
                if grad_weight.dtype == slope.dtype:
                    grad_weight.addmm_(slope.T, hidden[piece].to(slope.dtype))
                else:
                    grad_weight += slope.T @ hidden[piece].to(slope.dtype)
        grad_weight = None if grad_weight is None else grad_weight.to(weight.dtype)
        grad_bias = None if grad_bias is None else grad_bias.to(bias.dtype)
        return grad_hidden, grad_weight, grad_bias, None, None, None, None
