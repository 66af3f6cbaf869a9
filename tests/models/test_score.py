"""Laws 2 and 6: packed == padded == one by one with full logits, losses and gradients, for several families."""

import pytest
import torch

from luthier.models.score import Scorer
from luthier.types import Batch
from tests.conftest import make_tiny

FAMILIES = ["qwen3", "qwen2", "llama", "mistral", "gemma2", "gemma3_text", "phi3"]
OVERRIDES = {
    "gemma2": {"query_pre_attn_scalar": 8, "sliding_window": 5},
    "mistral": {"sliding_window": 5},
    "gemma3_text": {"sliding_window": 5},
}


def make_batch(lengths=(9, 4, 7), vocabulary=97, seed=0) -> tuple[Batch, list[torch.Tensor], list[torch.Tensor]]:
    """A batch, its segments' ids, and for each segment a mask of the learned tokens."""
    generator = torch.Generator().manual_seed(seed)
    ids = [torch.randint(3, vocabulary, (n,), generator=generator) for n in lengths]
    learned = [torch.rand(n, generator=generator) < 0.6 for n in lengths]
    for mask in learned:
        mask[0], mask[-1] = False, True
    flat = torch.cat(learned)
    at = flat.nonzero()[:, 0]
    every = torch.cat(ids)
    batch = Batch(
        input_ids=every[None],
        position_ids=torch.cat([torch.arange(n) for n in lengths])[None],
        segment_lengths=tuple(lengths),
        positions=at - 1,
        targets=every[at],
        segment_ids=torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))[at],
        values=torch.zeros(len(lengths)),
    )
    return batch, ids, learned


def plain_nll(model, ids, learned):
    """Sum of -log p over the learned tokens: full logits of plain transformers, one row at a time."""
    total = 0.0
    for row, mask in zip(ids, learned):
        logps = model(input_ids=row[None], use_cache=False).logits[0].float().log_softmax(-1)
        total = total - logps[:-1].gather(1, row[1:, None])[:, 0][mask[1:]].sum()
    return total


@pytest.mark.parametrize("family", FAMILIES)
def test_packed_padded_and_one_by_one_agree(family):
    batch, ids, learned = make_batch()
    results = {}
    for layout in ("plain", "packed", "padded"):
        model = make_tiny(family, **OVERRIDES.get(family, {}))
        if family in ("gemma2",):
            model.set_attn_implementation("eager")  # sdpa has no softcap in transformers
        loss = plain_nll(model, ids, learned) if layout == "plain" else -Scorer(model, layout=layout)(batch)[0].sum()
        loss.backward()
        results[layout] = (loss.detach(), {name: p.grad for name, p in model.named_parameters()})
    for layout in ("packed", "padded"):
        torch.testing.assert_close(results[layout][0], results["plain"][0], atol=1e-5, rtol=1e-5)
        for name, gradient in results["plain"][1].items():
            torch.testing.assert_close(results[layout][1][name], gradient, atol=1e-5, rtol=1e-4, msg=f"{layout} {name}")


@pytest.mark.parametrize("family", FAMILIES)
def test_the_proved_layout_is_packed_for_known_families(family):
    assert Scorer(make_tiny(family, **OVERRIDES.get(family, {}))).layout == "packed"


def test_segments_never_see_one_another(tiny_qwen3):
    """Other tokens in the first segment leave the second one's hidden states bit for bit as they were."""
    batch, *_ = make_batch((6, 5))
    scorer = Scorer(tiny_qwen3)
    before = scorer.hidden(batch)[6:].clone()
    batch.input_ids[0, :6] = 5
    assert torch.equal(scorer.hidden(batch)[6:], before)


def test_neftune_noise_has_the_papers_size_and_only_in_training(tiny_qwen3):
    """Noise is uniform in +-alpha / sqrt(L * H) for a segment of L tokens (arXiv:2310.05914, algorithm 1)."""
    batch, *_ = make_batch((9, 4))
    scorer = Scorer(tiny_qwen3, layout="packed", neftune_alpha=5.0)
    clean = tiny_qwen3.get_input_embeddings()(batch.input_ids)
    noise = (scorer._noisy_embeddings(batch) - clean)[0]
    for piece, length in ((noise[:9], 9), (noise[9:], 4)):
        bound = 5.0 / (length * 32) ** 0.5
        assert 0.8 * bound < piece.abs().max() <= bound * 1.001
    scorer.eval()
    assert torch.equal(scorer(batch)[0], Scorer(tiny_qwen3, layout="packed")(batch)[0])
