"""Optimizers beyond torch's own: one step by hand, frozen blocks, curves that fall, and bits that survive a resume."""

import pytest
import torch

from luthier.config import Config
from luthier.errors import ConfigError
from luthier.trainer.lowrank import LowRank
from luthier.trainer.muon import Muon
from luthier.trainer.optimizers import BITSANDBYTES, make_optimizer
from tests.conftest import make_tiny
from tests.trainer.bench_of import losses, make_trainer, weights
from tests.trainer.test_resume import KEYS, KillAt, numbers

RATE = 0.1


def one_step(kind: str, shape, **options):
    """(weight before - weight after) / learning rate, and the gradient."""
    torch.manual_seed(0)
    weight = torch.nn.Parameter(torch.zeros(shape))
    weight.grad = torch.randn(shape)
    LowRank([{"params": [weight], "interval": 10, **options}], kind=kind, lr=RATE).step()
    return -weight.detach() / RATE, weight.grad


@pytest.mark.parametrize(("shape", "proj_type"), [((6, 4), "std"), ((4, 6), "std"), ((6, 4), "reverse_std"), ((5, 5), "left")])
def test_first_step_of_galore_by_hand(shape, proj_type):
    """Adam's first step is R / |R|: the update is scale * P sign(P^T G), P the first singular vectors of G."""
    moved, g = one_step("galore", shape, rank=2, scale=0.25, proj_type=proj_type)
    u, _, v = torch.linalg.svd(g, full_matrices=False)
    right = (shape[0] >= shape[1]) == (proj_type == "std") and proj_type != "left"
    expected = 0.25 * ((g @ v[:2].T).sign() @ v[:2] if right else u[:, :2] @ (u[:, :2].T @ g).sign())
    torch.testing.assert_close(moved, expected, rtol=1e-4, atol=1e-4)
    assert torch.linalg.matrix_rank(moved) == 2


@pytest.mark.parametrize("scale_type", ["channel", "tensor"])
def test_first_step_of_apollo_by_hand(scale_type):
    """G itself, each row scaled by |sign(R)| / |R|, times sqrt(scale); R = G P^T of a random P, so 4 rows have rank 2 norms."""
    moved, g = one_step(
        "apollo", (6, 4), rank=2, scale=4.0, proj_type="std", proj="svd", scale_type=scale_type, scale_front=False
    )
    low = g @ torch.linalg.svd(g, full_matrices=False)[2][:2].T
    if scale_type == "channel":
        factor = low.sign().norm(dim=1, keepdim=True) / low.norm(dim=1, keepdim=True)
    else:
        factor = low.sign().norm() / low.norm()
    torch.testing.assert_close(moved, 2.0 * g * factor, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (5, 5)])
def test_muon_is_torchs(shape):
    """Three steps; torch's iterates in bfloat16, so up to a hundredth of the update."""
    torch.manual_seed(0)
    mine, theirs = (torch.nn.Parameter(torch.ones(shape)) for _ in range(2))
    a = Muon([mine], lr=RATE, weight_decay=0.1)
    b = torch.optim.Muon([theirs], lr=RATE, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for _ in range(3):
        mine.grad = theirs.grad = torch.randn(shape)
        a.step()
        b.step()
    torch.testing.assert_close(mine, theirs, rtol=0, atol=5e-3)


def test_what_is_not_projected_is_adamw():
    torch.manual_seed(0)
    mine, theirs = (torch.nn.Parameter(torch.ones(3, 4)) for _ in range(2))
    a = LowRank([{"params": [mine]}], kind="galore", lr=RATE, weight_decay=0.1)
    b = torch.optim.AdamW([theirs], lr=RATE, weight_decay=0.1)
    for _ in range(5):
        mine.grad = theirs.grad = torch.randn(3, 4)
        a.step()
        b.step()
    torch.testing.assert_close(mine, theirs)


SLOWER = {
    name: pytest.param(name, marks=pytest.mark.slow)
    for name in (
        *("galore 8 bit", "adamw_torch_8bit"),
        *("apollo", "apollo by name", "muon", "badam scatter", "adafactor", "stable_adamw", "lomo", "ademamix"),
        *("schedule_free_sgd", "schedule_free_radam"),
    )
}
VARIANTS = {
    "galore": {"use_galore": True, "galore_rank": 4, "galore_update_interval": 3, "galore_scale": 1.0},
    "apollo": {"use_apollo": True, "apollo_rank": 4, "apollo_update_interval": 3},
    "badam": {"use_badam": True, "badam_switch_interval": 2, "badam_switch_mode": "random"},
    "muon": {"use_muon": True},
    "galore layerwise": {"use_galore": True, "galore_rank": 4, "galore_scale": 1.0, "galore_layerwise": True},
    "apollo by name": {"optim": "apollo_adamw_layerwise", "optim_args": "rank=4,update_proj_gap=3,scale=32"},
    "badam ratio": {"use_badam": True, "badam_mode": "ratio", "badam_update_ratio": 0.3, "badam_switch_interval": 3},
    "badam scatter": {"use_badam": True, "badam_mode": "ratio", "badam_update_ratio": 0.3, "badam_mask_mode": "scatter"},
    "adam mini": {"use_adam_mini": True},
    "adafactor": {"optim": "adafactor"},
    "stable_adamw": {"optim": "stable_adamw"},
    "lomo": {"optim": "lomo", "learning_rate": 0.3, "weight_decay": 0.01},
    "adalomo": {"optim": "adalomo", "learning_rate": 0.02},
    "schedule_free_adamw": {"optim": "schedule_free_adamw", "lr_scheduler_type": "constant", "warmup_steps": 2},
    "schedule_free_sgd": {"optim": "schedule_free_sgd", "lr_scheduler_type": "constant", "learning_rate": 0.3},
    "schedule_free_radam": {"optim": "schedule_free_radam", "lr_scheduler_type": "constant"},
    "galore 8 bit": {"optim": "galore_adamw_8bit", "optim_args": "rank=4,scale=1"},
    "galore adafactor": {"use_galore": True, "galore_rank": 4, "optim": "adafactor"},
    "grokadamw": {"optim": "grokadamw"},
    "anyprecision": {"optim": "adamw_anyprecision", "optim_args": "use_kahan_summation=true,momentum_dtype=bfloat16"},
    "adamw_torch_8bit": {"optim": "adamw_torch_8bit"},
    "adamw_torch_4bit": {"optim": "adamw_torch_4bit"},
    "adamw_8bit": {"optim": "adamw_8bit"},
    "ademamix": {"optim": "ademamix"},
    "plateau": {"lr_scheduler_type": "reduce_lr_on_plateau", "lr_scheduler_kwargs": {"patience": 0, "factor": 0.5}},
}


def each_variant():
    return [SLOWER.get(name, name) for name in VARIANTS]


def needs(name):
    if VARIANTS[name].get("optim") in BITSANDBYTES:
        pytest.importorskip("bitsandbytes")


@pytest.mark.parametrize("name", each_variant())
def test_the_loss_falls(tmp_path, name):
    needs(name)
    keys = {"learning_rate": 1e-2, "eval_strategy": "epoch", "num_train_epochs": 6.0}
    trainer = make_trainer(tmp_path / "run", **(keys | VARIANTS[name]))
    trainer.fit()
    curve = losses(trainer)
    assert sum(curve[-3:]) < 0.95 * sum(curve[:3])


@pytest.mark.parametrize("name", each_variant())
def test_resumed_bits_equal_those_never_killed(tmp_path, name):
    needs(name)
    keys = KEYS | VARIANTS[name]
    whole = make_trainer(tmp_path / "whole", **keys)
    whole.fit()
    with pytest.raises(SystemExit):
        make_trainer(tmp_path / "cut", callbacks=(KillAt(5),), **keys).fit()
    resumed = make_trainer(tmp_path / "cut", resume_from_checkpoint="true", **keys)
    resumed.fit()
    assert numbers(resumed) == numbers(whole)
    for key, tensor in weights(whole).items():
        assert torch.equal(weights(resumed)[key], tensor), key


def test_low_rank_moments_take_less_memory():
    def held(**keys):
        model = make_tiny("qwen3", hidden_size=64, head_dim=16)
        optimizer = make_optimizer(model, Config(finetuning_type="full", **keys))
        model(input_ids=torch.tensor([[3, 4, 5]]), labels=torch.tensor([[3, 4, 5]])).loss.backward()
        optimizer.step()
        return sum(t.numel() for state in optimizer.state.values() for t in state.values())

    assert held(use_galore=True, galore_rank=4) < 0.45 * held()


def test_one_block_learns_at_a_time():
    model = make_tiny("qwen3", num_hidden_layers=3)
    keys = {"use_badam": True, "badam_switch_interval": 2, "badam_switch_mode": "descending", "learning_rate": 1e-2}
    optimizer = make_optimizer(model, Config(finetuning_type="full", **keys))
    seen = []
    for _ in range(6):
        before = weights_of(model)
        model(input_ids=torch.tensor([[3, 4, 5]]), labels=torch.tensor([[3, 4, 5]])).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        seen.append({name.split(".")[2] for name, p in model.named_parameters() if not torch.equal(before[name], p)})
    assert seen == [{"2"}, {"2"}, {"1"}, {"1"}, {"0"}, {"0"}]


def weights_of(model):
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def test_the_rate_halves_where_evaluations_no_longer_improve(tmp_path):
    keys = VARIANTS["plateau"] | {"eval_strategy": "steps", "eval_steps": 1, "learning_rate": 0.5, "num_train_epochs": 3.0}
    trainer = make_trainer(tmp_path / "run", **keys)
    trainer.fit()
    rates = [row["learning_rate"] for row in trainer.run.read_metrics() if "learning_rate" in row]
    assert rates[0] == 0.5 and rates[-1] <= 0.125


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"use_galore": True, "galore_target": ["nothing"]}, "matches no linear layer"),
        ({"use_badam": True, "badam_start_block": 7}, "the blocks 0 to 1"),
        ({"optim": "galore_adamw", "optim_args": "ranks=4"}, "galore_adamw has no ranks"),
        ({"optim": "stable_adamw", "optim_args": "max_lr=1"}, "stable_adamw has no max_lr"),
        ({"optim": "sgd", "optim_args": "lr=1"}, "sgd has no lr"),
        ({"optim": "lomo", "optim_args": "eps=1"}, "lomo has no eps"),
        ({"optim": "adamw_8bit", "optim_args": "bits=4"}, "adamw_8bit has no bits"),
        ({"optim": "adamw_torch_4bit", "optim_args": "block_size=127"}, "block_size is 127, not an even number"),
        ({"optim": "adamw_torch_8bit", "optim_args": "bf16_stochastic_round=true"}, "here are none"),
        ({"optim": "adamw_anyprecision", "optim_args": "momentum_dtype=svd"}, "svd is no number format"),
    ],
)
def test_what_cannot_be_done_says_why(keys, said):
    if keys.get("optim") in BITSANDBYTES:
        pytest.importorskip("bitsandbytes")
    with pytest.raises(ConfigError, match=said):
        make_optimizer(make_tiny("qwen3"), Config(finetuning_type="full", **keys))


def test_all_linear_of_transformers_is_all():
    def projected(target):
        config = Config(finetuning_type="full", optim="galore_adafactor", optim_target_modules=[target])
        return sum(len(group["params"]) for group in make_optimizer(make_tiny("qwen3"), config).param_groups if "rank" in group)

    assert projected("all-linear") == projected("all") == 2 * 7 > projected("self_attn") == 2 * 4
