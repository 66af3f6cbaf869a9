"""Attention inside segments: many sequences lie end to end in one row, and none sees another, or all see the first alone.

Registered with transformers' AttentionInterface under ATTENTION, so it serves every model that asks that interface.
The plain reference beside it is the padded layout of models/score.py (one row a segment, the model's own attention);
a law-test holds the two together.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface

ATTENTION = "luthier_segments"


class Segments:
    """Lengths of segments, a closed box on their way through the model: a compiled layer holds for any number of them."""

    __slots__ = ("lengths",)

    def __init__(self, lengths: tuple[int, ...]):
        self.lengths = lengths


def segment_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    segments: Segments | None = None,
    first_is_prefix: bool = False,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **kwargs: object,
) -> tuple[Tensor, None]:
    """Causal attention of each segment to itself alone.

    query: (1, heads, T, D).  key, value: (1, kv_heads, T, D).  segments: lengths that sum to T; None is one segment.
    first_is_prefix: every other segment goes on from the first one, and sees it.
    sliding_window: how many tokens back (itself included) a token sees.  softcap: logits become c * tanh(x / c) (Gemma 2).
    s_aux: (heads,) attention sinks (gpt-oss).  Returns (1, T, heads, D) and no weights.
    """
    lengths = segments.lengths if segments else (query.shape[2],)
    plain = softcap is None and s_aux is None
    outputs = []
    keys, values = key.split(lengths, 2), value.split(lengths, 2)
    for number, (q, k, v) in enumerate(zip(query.split(lengths, 2), keys, values)):
        if first_is_prefix and number:
            k, v = torch.cat([keys[0], k], 2), torch.cat([values[0], v], 2)
        banded = sliding_window is not None and k.shape[2] > sliding_window
        if plain and not banded:
            goes_on = k.shape[2] > q.shape[2] > 1
            output = F.scaled_dot_product_attention(
                q, k, v, _seen(q, k) if goes_on else None, dropout_p=dropout, is_causal=q.shape[2] == k.shape[2] > 1,
                scale=scaling, enable_gqa=q.shape[1] != k.shape[1],
            )  # fmt: skip
        else:
            output = spelled_out(q, k, v, scaling, dropout, sliding_window, softcap, s_aux)
        outputs.append(output)
    return torch.cat(outputs, 2).transpose(1, 2).contiguous(), None  # some models view it in other shapes


def spelled_out(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    scaling: float | None,
    dropout: float,
    sliding_window: int | None,
    softcap: float | None,
    s_aux: Tensor | None,
) -> Tensor:
    """The same by hand, for the variants that the fused kernel does not know. Shapes as above, for one segment."""
    groups = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
    scores = q @ k.transpose(2, 3) * (scaling if scaling is not None else q.shape[-1] ** -0.5)
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    scores = scores.float().masked_fill(~_seen(q, k, sliding_window), float("-inf"))
    if s_aux is not None:
        sinks = s_aux.float().view(1, -1, 1, 1).expand(1, -1, q.shape[2], 1)
        probs = torch.cat([scores, sinks], 3).softmax(-1)[..., :-1]
    else:
        probs = scores.softmax(-1)
    return F.dropout(probs.to(v.dtype), dropout) @ v


def _seen(q: Tensor, k: Tensor, sliding_window: int | None = None) -> Tensor:
    """Which keys each query sees, bool (Q, K): the queries are the last Q of the K tokens."""
    keys = torch.arange(k.shape[2], device=k.device)
    back = keys[-q.shape[2] :, None] - keys[None, :]
    return back >= 0 if sliding_window is None else (back >= 0) & (back < sliding_window)


AttentionInterface.register(ATTENTION, segment_attention)
AttentionMaskInterface.register(ATTENTION, lambda *args, **kwargs: None)
