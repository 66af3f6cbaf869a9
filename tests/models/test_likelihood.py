"""Likelihoods of continuations: transformers' own, one row at a time, whatever is shared and however it is laid out."""

import pytest
import torch

from luthier.models.likelihood import likelihoods, next_logits
from luthier.models.score import Scorer
from tests.conftest import make_tiny
from tests.engines.conftest import lively, random_prompts

FAMILIES = {"qwen3": {}, "mistral": {"sliding_window": 12}, "gemma2": {"sliding_window": 12, "query_pre_attn_scalar": 8}}


def alone(model, context, continuation):
    """(log-probability of the continuation, whether greedy search would say it), by the model's own forward."""
    ids = torch.tensor([[*context, *continuation]])
    with torch.no_grad():
        logps = model(ids).logits[0].log_softmax(-1)[len(context) - 1 : -1]
    targets = torch.tensor(continuation)
    return float(logps.gather(1, targets[:, None]).sum()), bool((logps.argmax(-1) == targets).all())


def material():
    """Two shared beginnings, one inside the other, single tokens after the same context, and rows that share nothing."""
    beginning, other, *rest = random_prompts(10, longest=30)
    beginning, other = beginning * 3, [5, 6, 7] + other * 2
    contexts = [beginning + each for each in rest[:3]] + [other] * 4 + [other + rest[3]] + [rest[4], rest[5], [9]]
    continuations = [each[:6] or [4] for each in rest[2:5]] + [[3], [4], [5], [6, 7, 8]] + [[11]] + [rest[6], [12, 13], rest[7]]
    return list(zip(contexts, continuations))


@pytest.mark.parametrize("layout", ["packed", "padded"])
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("max_tokens", [10_000, 60, 1])
def test_every_row_is_as_if_it_were_alone(family, layout, max_tokens):
    model = lively(make_tiny(family, **FAMILIES[family]), factor=4)
    pairs = material()
    expected = [alone(model, *pair) for pair in pairs]
    found = dict(likelihoods(Scorer(model, layout=layout).eval(), pairs, max_tokens))
    assert sorted(found) == list(range(len(pairs)))
    for number, (logp, greedy) in enumerate(expected):
        assert found[number].logp == pytest.approx(logp, rel=1e-4, abs=1e-4) and found[number].greedy == greedy
        assert found[number].tokens == len(pairs[number][1])


def test_greedy_is_told(tiny_qwen3):
    lively(tiny_qwen3)
    with torch.no_grad():
        said = tiny_qwen3.generate(torch.tensor([[5, 6, 7]]), max_new_tokens=4, do_sample=False, eos_token_id=None)[
            0, 3:
        ].tolist()
    pairs = [([5, 6, 7], said), ([5, 6, 7], [*said[:3], said[3] % 90 + 1])]
    assert [dict(likelihoods(Scorer(tiny_qwen3).eval(), pairs))[i].greedy for i in (0, 1)] == [True, False]


def test_the_logits_after_a_prompt_are_the_models(tiny_qwen3):
    model = lively(tiny_qwen3)
    prompts = [context for context, _ in material()]
    for number, logits in next_logits(Scorer(model).eval(), prompts, [3, 50, 96]):
        with torch.no_grad():
            expected = model(torch.tensor([prompts[number]])).logits[0, -1, [3, 50, 96]]
        torch.testing.assert_close(logits, expected, atol=1e-4, rtol=1e-4)


def test_what_rows_share_is_computed_once(tiny_qwen3, monkeypatch):
    """Two questions of 100 shared tokens with four endings each: 100 + 2 * 20 + endings, not 8 * 120."""
    scorer, seen = Scorer(tiny_qwen3.eval()), []
    plain = Scorer.hidden

    def counting(self, batch, **more):
        seen.append(batch.num_tokens)
        return plain(self, batch, **more)

    monkeypatch.setattr(Scorer, "hidden", counting)
    solved, first, second = list(range(3, 90)) + [3] * 13, [4] * 20, [5] * 20
    pairs = [(solved + question, [ending, 7, 7]) for question in (first, second) for ending in (10, 11, 12, 13)]
    list(likelihoods(scorer, pairs))
    assert sum(seen) < 2 * (120 + 4 * 3) and len(pairs) * 120 > 3 * sum(seen)
