"""DFT, EAFT, ASFT and distillation by hand: full logits of a tiny model in float64, and the same formula a line long."""

import pytest
import torch
from tests.conftest import make_tiny
from tests.stages.bench import make_trainer, rows, samples

from luthier.batches.collate import collate
from luthier.batches.store import write_store
from luthier.config import Config
from luthier.models.divergence import token_divergence
from luthier.models.reference import ModelReference
from luthier.models.score import Scorer
from luthier.stages import STAGES


@pytest.fixture
def setting(tmp_path):
    """(scorer with another model as its reference, batch, full log-probabilities of both at the learned tokens)"""
    batch = collate(write_store(tmp_path / "store", samples("sft", 5), {"fingerprint": "x"}), range(5))
    models = [make_tiny("qwen3"), make_tiny("qwen3", tie_word_embeddings=False)]
    scorer = Scorer(models[0].train(), layout="packed")
    scorer.reference = ModelReference(Scorer(models[1], layout="packed"))
    full = []
    for model in models:
        rows = [model(input_ids=ids[None]).logits[0] for ids in batch.input_ids[0].split(batch.segment_lengths)]
        full.append(torch.cat(rows)[batch.positions].log_softmax(-1))
    return scorer, batch, *full


def loss_of(setting, **keys):
    scorer, batch, *_ = setting
    stage = keys.pop("stage", "sft")
    return STAGES[stage](Config(stage=stage, **keys)).loss(scorer, batch).total


def own(policy, batch):
    return policy.gather(1, batch.targets[:, None])[:, 0]


def check(found, expected, scorer):
    """Values and gradients of all weights."""
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-5)
    learning = [p for p in scorer.model.parameters() if p.requires_grad]
    pairs = zip(torch.autograd.grad(found, learning), torch.autograd.grad(expected, learning))
    for mine, theirs in pairs:
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=2e-5)


def test_dft(setting):
    """-sum sg(p) log p"""
    scorer, batch, policy, _ = setting
    logps = own(policy, batch)
    check(loss_of(setting, use_dft_loss=True), -(logps.detach().exp() * logps).sum(), scorer)


@pytest.mark.parametrize("alpha", [1.0, 0.5])
def test_eaft(setting, alpha):
    """-sum (H20 / 3)^alpha log p"""
    scorer, batch, policy, _ = setting
    top = policy.detach().topk(20).values.log_softmax(-1)
    weight = (-(top.exp() * top).sum(-1) / 3) ** alpha
    check(loss_of(setting, use_eaft_loss=True, eaft_alpha=alpha), -(weight * own(policy, batch)).sum(), scorer)


def test_asft(setting):
    """DFT + alpha sum KL(reference || policy)"""
    scorer, batch, policy, reference = setting
    logps = own(policy, batch)
    kl = (reference.exp() * (reference - policy)).sum()
    expected = 0.3 * kl - (logps.detach().exp() * logps).sum()
    check(loss_of(setting, use_asft_loss=True, asft_alpha=0.3), expected, scorer)


@pytest.mark.parametrize("beta", [0.0, 1.0, 0.3])
@pytest.mark.parametrize("alpha", [1.0, 0.6])
def test_distillation(setting, beta, alpha):
    """alpha T^2 D + (1 - alpha) NLL at T = 2: P and Q of logits / T"""
    _, batch, policy, reference = setting
    q, p = (policy / 2).log_softmax(-1), (reference / 2).log_softmax(-1)
    kl = torch.nn.functional.kl_div
    if beta in (0.0, 1.0):
        d = kl(q, p, log_target=True, reduction="sum") if beta == 0 else kl(p, q, log_target=True, reduction="sum")
    else:
        m = (beta * p.exp() + (1 - beta) * q.exp()).log()
        d = beta * kl(m, p, log_target=True, reduction="sum") + (1 - beta) * kl(m, q, log_target=True, reduction="sum")
    expected = alpha * 4 * d - (1 - alpha) * own(policy, batch).sum()
    found = loss_of(setting, stage="kd", teacher_model="x", kd_alpha=alpha, kd_beta=beta, kd_temperature=2.0)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
def test_divergence_is_trls(beta):
    from trl.experimental.gkd import GKDTrainer

    generator = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(7, 50, generator=generator) * 3 for _ in range(2))
    mine = token_divergence(lambda x: x, student, lambda x: x, teacher, 50, beta=beta, temperature=1.5)
    theirs = GKDTrainer.generalized_jsd_loss(student[None], teacher[None], beta=beta, temperature=1.5, reduction="sum")
    torch.testing.assert_close(mine.sum(), theirs, rtol=0, atol=1e-5)


def test_evaluation_is_the_plain_loss_whatever_is_trained(setting):
    scorer, batch, policy, _ = setting
    scorer.eval()
    for keys in ({"use_dft_loss": True}, {"use_eaft_loss": True}, {"label_smoothing_factor": 0.2}):
        torch.testing.assert_close(loss_of(setting, **keys), -own(policy, batch).sum(), rtol=0, atol=2e-5)


def test_distillation_lowers_the_divergence(tmp_path, monkeypatch):
    """The teacher has learned to count; the student learns it from the teacher's distribution alone."""
    teacher = make_trainer(tmp_path / "teacher", "sft", num_train_epochs=6.0, learning_rate=1e-2)
    teacher.fit()
    monkeypatch.setattr("luthier.workflows.equip.load_model", lambda *_, **__: teacher.model)
    student = make_trainer(tmp_path / "student", "kd", teacher_model="x", num_train_epochs=6.0, learning_rate=1e-2)
    student.fit()
    curve = rows(student, "divergence")
    assert curve[-1] < 0.3 * curve[0]
