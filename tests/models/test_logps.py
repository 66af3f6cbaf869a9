"""token_logps against torch's own cross entropy, forward and backward."""

import pytest
import torch
import torch.nn.functional as F

from luthier.models import logps
from luthier.models.logps import Head, token_logps


def plain(hidden, weight, bias, targets, scale=1.0, softcap=None, smoothing=0.0):
    """(1 - e) log p(target) + e * mean_v log p(v), with the full logits."""
    logits = F.linear(hidden, weight, bias) * scale
    if softcap is not None:
        logits = softcap * torch.tanh(logits / softcap)
    every = logits.log_softmax(-1)
    return (1 - smoothing) * every.gather(1, targets[:, None])[:, 0] + smoothing * every.mean(1)


CASES = [
    {"head_learns": learns, "bias": bias, "scale": scale, "softcap": cap, "smoothing": smoothing}
    for learns in (False, True)
    for bias, scale, cap, smoothing in (
        (False, 1.0, None, 0.0),
        (True, 1.0, None, 0.1),
        (False, 0.5, None, 0.0),
        (False, 2.0, 3.0, 0.2),
    )
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_equals_the_plain_formula_with_gradients(case, monkeypatch):
    monkeypatch.setattr(logps, "chunk_rows", lambda vocabulary: 3)  # several chunks, the last one short
    generator = torch.Generator().manual_seed(1)
    hidden, weight, targets = (
        torch.randn(11, 8, generator=generator, dtype=torch.float64),
        torch.randn(13, 8, generator=generator, dtype=torch.float64),
        torch.randint(13, (11,), generator=generator),
    )
    bias = torch.randn(13, generator=generator, dtype=torch.float64) if case["bias"] else None
    upstream = torch.randn(11, generator=generator)
    results = []
    for ours in (True, False):
        h, w = hidden.clone().requires_grad_(), weight.clone().requires_grad_(case["head_learns"])
        b = None if bias is None else bias.clone().requires_grad_(case["head_learns"])
        if ours:
            out, _ = token_logps(h, Head(w, b, case["scale"], case["softcap"]), targets, case["smoothing"])
        else:
            out = plain(h, w, b, targets, case["scale"], case["softcap"], case["smoothing"])
        (out * upstream).sum().backward()
        results.append((out.detach().float(), h.grad, w.grad, None if b is None else b.grad))
    for mine, reference in zip(*results):
        if reference is not None:
            torch.testing.assert_close(mine.double(), reference.double(), atol=1e-5, rtol=1e-5)


def test_hits_are_the_likeliest_tokens():
    hidden, weight = torch.eye(3), torch.eye(3)
    _, hits = token_logps(hidden, Head(weight), torch.tensor([0, 2, 2]))
    assert hits.tolist() == [True, False, True]


@pytest.mark.parametrize("head_learns", [False, True])
def test_never_holds_tokens_times_vocabulary(head_learns):
    """Peak of live tensor bytes during forward and backward stays below (N x V) floats."""
    n, h, v = 600, 16, 60_000
    hidden = torch.randn(n, h, requires_grad=True)
    weight = torch.randn(v, h, requires_grad=head_learns)
    biggest = 0
    from torch.utils._python_dispatch import TorchDispatchMode

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            nonlocal biggest
            out = func(*args, **(kwargs or {}))
            for tensor in out if isinstance(out, (tuple, list)) else (out,):
                if isinstance(tensor, torch.Tensor):
                    biggest = max(biggest, tensor.numel())
            return out

    with Watch():
        out, _ = token_logps(hidden, Head(weight), torch.randint(v, (n,)))
        out.sum().backward()
    assert biggest < n * v
