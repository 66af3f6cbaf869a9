"""Tokens are drawn from the very distribution that transformers' processors leave, measured at evenly spaced random numbers."""

import random

import pytest
import torch
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from luthier.engines.base import Sampling
from luthier.engines.sampler import Chooser, draw

DRAWS = 4000
SETTINGS = [
    {"temperature": 0.95, "top_k": 50, "top_p": 0.7, "min_p": 0.0},
    {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0},
    {"temperature": 1.7, "top_k": 0, "top_p": 0.9, "min_p": 0.0},
    {"temperature": 0.5, "top_k": 7, "top_p": 1.0, "min_p": 0.1},
    {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.05},
    {"temperature": 2.0, "top_k": 1500, "top_p": 0.99, "min_p": 0.0},
    {"temperature": 1.0, "top_k": 1, "top_p": 0.5, "min_p": 0.0},
    {"temperature": 1.0, "top_k": 9999, "top_p": 0.0, "min_p": 0.0},
    {"temperature": 9.0, "top_k": 0, "top_p": 0.95, "min_p": 0.0},  # nearly even: the best 1,040 do not hold 95 %
]


def transformers_probabilities(logits, temperature, top_k, top_p, min_p):
    steps = [TemperatureLogitsWarper(temperature)]
    steps += [TopKLogitsWarper(top_k)] if top_k else []
    steps += [TopPLogitsWarper(top_p)] if top_p < 1 else []
    steps += [MinPLogitsWarper(min_p)] if min_p else []
    return LogitsProcessorList(steps)(None, logits[None]).softmax(-1)[0]


def column(value, rows, dtype=torch.float64):
    return torch.full((rows, 1), value, dtype=dtype)


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("vocabulary", [30, 3000])
def test_the_distribution_is_that_of_transformers(setting, vocabulary):
    """With u = (i + 1/2) / n each token is drawn p x n times, give or take one."""
    logits = torch.randn(vocabulary, generator=torch.Generator().manual_seed(vocabulary)) * 2
    expected = transformers_probabilities(logits, **setting)
    uniform = ((torch.arange(DRAWS, dtype=torch.float64) + 0.5) / DRAWS)[:, None]
    counts = torch.zeros(vocabulary)
    for part in uniform.split(500):
        rows = len(part)
        ids = draw(
            logits.expand(rows, -1),
            column(setting["temperature"], rows, torch.float32),
            column(setting["top_k"], rows, torch.int64),
            column(setting["top_p"], rows),
            column(setting["min_p"], rows),
            part,
        )
        counts += torch.bincount(ids, minlength=vocabulary)
    assert (counts / DRAWS - expected).abs().max() < 1.5 / DRAWS
    assert not counts[expected == 0].any()


def test_tokens_that_tie_with_the_last_of_top_k_stay():
    logits = torch.tensor([[3.0, 2.0, 2.0, 2.0, 1.0]]).expand(400, -1)
    uniform = ((torch.arange(400, dtype=torch.float64) + 0.5) / 400)[:, None]
    ids = draw(logits, column(1.0, 400), column(2, 400, torch.int64), column(1.0, 400), column(0.0, 400), uniform)
    assert set(ids.tolist()) == {0, 1, 2, 3}


def test_rows_of_many_kinds_draw_in_one_batch_what_they_draw_alone():
    logits = torch.randn(len(SETTINGS), 3000, generator=torch.Generator().manual_seed(0)) * 2
    samplings = [Sampling(**setting) for setting in SETTINGS]
    nothing = [[] for _ in samplings]
    for seed in range(20):
        together = chosen(samplings, nothing, nothing, logits, seed)
        alone = [chosen([samplings[i]], [[]], [[]], logits[i : i + 1], seed)[0] for i in range(len(samplings))]
        assert together == alone


def chosen(samplings, prompts, replies, logits, seed=0):
    chooser = Chooser(samplings, prompts, replies, [random.Random(seed) for _ in samplings], logits.shape[1], logits.device)
    return chooser.choose(logits.clone())[0]


def test_repetition_penalty_is_that_of_transformers_and_counts_go_on():
    logits = torch.randn(3, 40, generator=torch.Generator().manual_seed(5))
    prompts, replies = [[1, 2, 2], [3], [4, 99]], [[7], [], [8, 9]]  # 99: an id that the head cannot say
    samplings = [Sampling(do_sample=False, repetition_penalty=penalty) for penalty in (1.4, 0.6, 3.0)]
    chooser = Chooser(samplings, prompts, replies, [random.Random()] * 3, 40, logits.device)
    for _ in range(12):
        ids, _ = chooser.choose(logits.clone())
        for row, penalty in enumerate((1.4, 0.6, 3.0)):
            seen = torch.tensor([prompts[row] + replies[row]])
            scores = RepetitionPenaltyLogitsProcessor(penalty)(seen, logits[row : row + 1])
            assert ids[row] == scores.argmax().item()
            replies[row].append(ids[row])
