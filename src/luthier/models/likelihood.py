"""How likely given texts are after given beginnings, many at a time; what they begin with alike is computed once.

Enters: (context, continuation) as token ids. Leaves: log-probabilities in nats, and the states after each context.
Never: computes gradients.

    "Q: 1+1? A:" + " 1", " 2", " 3"   ->   one row [Q : 1 + 1 ? A :] [ 1] [ 2] [ 3], each ending going on from the beginning
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import torch

from luthier.models.score import Scorer, base_of
from luthier.types import Batch

if TYPE_CHECKING:
    from torch import Tensor

Ids = Sequence[int]

DEEPEST = 64
"""How often a group of rows is looked at for smaller groups that share more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Likelihood:
    """logp: of the whole continuation, in nats.  greedy: whether each token was the likeliest.  tokens: their number."""

    logp: float
    greedy: bool
    tokens: int


@torch.no_grad()
def likelihoods(scorer: Scorer, pairs: Sequence[tuple[Ids, Ids]], max_tokens: int = 8192) -> Iterator[tuple[int, Likelihood]]:
    """(which pair, its Likelihood), group by group. max_tokens: how many go through the model at once.

    Contexts and continuations hold a token at least.
    """
    rows = [[*context, *continuation][:-1] for context, continuation in pairs]
    for numbers, states in _states(scorer, rows, [len(context) - 1 for context, _ in pairs], max_tokens):
        targets = torch.tensor([token for i in numbers for token in pairs[i][1]], device=states.device)
        logps, hits = scorer.logps(states, targets)
        start = 0
        for number in numbers:
            part = slice(start, start := start + len(pairs[number][1]))
            count = part.stop - part.start
            yield number, Likelihood(logp=float(logps[part].sum()), greedy=bool(hits[part].all()), tokens=count)


@torch.no_grad()
def next_logits(scorer: Scorer, prompts: Sequence[Ids], tokens: Ids, max_tokens: int = 8192) -> Iterator[tuple[int, Tensor]]:
    """(which prompt, the logits (len(tokens),) of these tokens after it)."""
    for numbers, states in _states(scorer, prompts, [len(prompt) - 1 for prompt in prompts], max_tokens):
        yield from zip(numbers, scorer.logits(states)[:, list(tokens)].cpu())


def _states(scorer: Scorer, rows: Sequence[Ids], begins: Sequence[int], max_tokens: int) -> Iterator[tuple[list[int], Tensor]]:
    """(numbers of some rows, their hidden states from begins[number] on, end to end (N, H))."""
    device = base_of(scorer.model).get_input_embeddings().weight.device
    for numbers, shared in _batches(rows, max_tokens, sharing=scorer.layout == "packed"):
        prefix = list(rows[numbers[0]][:shared])
        endings = [list(rows[i][shared:]) for i in numbers]
        hidden = scorer.hidden(_batch(prefix, endings, device), first_is_prefix=bool(prefix))
        start, parts = shared, []
        for number, ending in zip(numbers, endings):
            begin = begins[number]
            parts += [hidden[begin:shared], hidden[start + max(0, begin - shared) : start + len(ending)]]
            start += len(ending)
        yield numbers, torch.cat(parts)


def _batches(rows: Sequence[Ids], max_tokens: int, *, sharing: bool) -> Iterator[tuple[list[int], int]]:
    """(numbers of rows to compute together, how many tokens they share), max_tokens in all; a longer row stands alone."""
    order = sorted(range(len(rows)), key=lambda i: list(rows[i]) if sharing else len(rows[i]))
    common = [_common(rows[a], rows[b]) if sharing else 0 for a, b in pairwise(order)]
    loose: list[int] = []  # rows that share nothing worth it go together
    for first, last in _groups(common, 0, len(order)):
        shared = min(common[first : last - 1], default=0)
        if last - first == 1:
            loose.append(order[first])
            continue
        yield from ((numbers, shared) for numbers in _filled(order[first:last], rows, shared, max_tokens))
    loose.sort(key=lambda i: len(rows[i]))
    yield from ((numbers, 0) for numbers in _filled(loose, rows, 0, max_tokens))


def _filled(numbers: Sequence[int], rows: Sequence[Ids], shared: int, max_tokens: int) -> Iterator[list[int]]:
    group: list[int] = []
    room = max_tokens - shared
    for number in numbers:
        if group and len(rows[number]) - shared > room:
            yield group
            group, room = [], max_tokens - shared
        group.append(number)
        room -= len(rows[number]) - shared
    if group:
        yield group


def _groups(common: Sequence[int], first: int, last: int, depth: int = 0) -> list[tuple[int, int]]:
    """Stretches [first, last) of sorted rows such that sharing each one's beginning saves the most tokens.

    common[i]: tokens that rows i and i + 1 begin with alike. Either all rows share the least of those, or the stretches between
    the places where it is least are looked at alone.
    """
    if last - first == 1:
        return [(first, last)]
    least = min(common[first : last - 1])
    cuts = [i + 1 for i in range(first, last - 1) if common[i] == least]
    if depth == DEEPEST or len(cuts) == last - first - 1:
        return [(first, last)] if least else [(i, i + 1) for i in range(first, last)]
    apart = [group for a, b in zip([first, *cuts], [*cuts, last]) for group in _groups(common, a, b, depth + 1)]
    saved = sum((b - a - 1) * min(common[a : b - 1], default=0) for a, b in apart)
    return apart if saved > (last - first - 1) * least else [(first, last)]


def _common(a: Ids, b: Ids) -> int:
    return next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))


def _batch(prefix: list[int], endings: Sequence[list[int]], device: torch.device) -> Batch:
    segments = [each for each in (prefix, *endings) if each]
    positions = [*range(len(prefix)), *(len(prefix) + i for ending in endings for i in range(len(ending)))]
    none = torch.zeros(0, dtype=torch.long, device=device)
    return Batch(
        input_ids=torch.tensor([[token for segment in segments for token in segment]], device=device),
        position_ids=torch.tensor([positions], device=device),
        segment_lengths=tuple(map(len, segments)),
        positions=none,
        targets=none,
        segment_ids=none,
        values=torch.zeros(len(segments), device=device),
    )
