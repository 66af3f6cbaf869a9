"""The reference of preference losses: log-probabilities of a model that does not learn.

Three kinds, one call: the base under the adapter, a second model, or what either said before, kept by the tokens' hash.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from luthier.types import Batch

if TYPE_CHECKING:
    from luthier.models.score import Scorer

Reference = Callable[[Batch], Tensor]
"""batch -> log-probability of each supervised token, (N,) float32, without gradient."""


class LivingReference(Protocol):
    """A reference that is a model here and now, and can be asked for whole distributions too."""

    def __call__(self, batch: Batch) -> Tensor: ...

    def hidden(self, batch: Batch) -> Tensor:
        """The states (N, H) that predict each supervised token."""
        ...

    def logits(self, hidden_nH: Tensor) -> Tensor:
        """Logits (n, V) float32 of a few of these states."""
        ...


class BaseReference:
    """The policy itself with its adapter switched off. disabled: Adapter.disabled of the policy's model."""

    def __init__(self, scorer: Scorer, disabled: Callable[[], AbstractContextManager[None]]):
        self._scorer, self._disabled = scorer, disabled

    def __call__(self, batch: Batch) -> Tensor:
        with self._asked():
            return self._scorer(batch)[0]

    def hidden(self, batch: Batch) -> Tensor:
        with self._asked():
            return self._scorer.hidden(batch)[batch.positions]

    def logits(self, hidden_nH: Tensor) -> Tensor:
        with self._asked():
            return self._scorer.logits(hidden_nH)

    @contextmanager
    def _asked(self) -> Iterator[None]:
        was_training = self._scorer.training
        self._scorer.eval()
        try:
            with torch.no_grad(), self._disabled():
                yield
        finally:
            self._scorer.train(was_training)


class ModelReference:
    """A second model, which never learns."""

    def __init__(self, scorer: Scorer):
        self.scorer = scorer.eval().requires_grad_(False)

    @torch.no_grad()
    def __call__(self, batch: Batch) -> Tensor:
        return self.scorer(batch)[0]

    @torch.no_grad()
    def hidden(self, batch: Batch) -> Tensor:
        return self.scorer.hidden(batch)[batch.positions]

    @torch.no_grad()
    def logits(self, hidden_nH: Tensor) -> Tensor:
        return self.scorer.logits(hidden_nH)


class CachedReference:
    """What `source` said of each segment of `batches`, computed at once; afterwards source is needed no more.

    Four bytes a learned token. A segment that was not among them raises KeyError: nothing is computed on the way.
    """

    def __init__(self, source: Reference, batches: Iterable[Batch]):
        self._known: dict[bytes, Tensor] = {}
        for batch in batches:
            for key, logps in zip(_keys(batch), source(batch).cpu().split(_counts(batch)), strict=True):
                self._known[key] = logps

    def __call__(self, batch: Batch) -> Tensor:
        return torch.cat([self._known[key] for key in _keys(batch)]).to(batch.targets.device)


def _counts(batch: Batch) -> list[int]:
    return torch.bincount(batch.segment_ids, minlength=batch.num_segments).tolist()


def _keys(batch: Batch) -> list[bytes]:
    """A hash of each segment: its tokens and which of them are learned."""
    tokens = batch.input_ids[0].cpu().split(batch.segment_lengths)
    learned = batch.targets.cpu().split(_counts(batch))
    return [_digest(ids, targets) for ids, targets in zip(tokens, learned)]


def _digest(ids: Tensor, targets: Tensor) -> bytes:
    return hashlib.blake2b(ids.numpy().tobytes() + b"|" + targets.numpy().tobytes(), digest_size=16).digest()
