"""Optimizers that Luthier writes itself, each against another implementation or its formula written out."""

import pytest
import torch
from torch.nn import Parameter
from transformers.optimization import Adafactor

from luthier.config import Config
from luthier.errors import ConfigError, TrainingError
from luthier.trainer.any_precision import AnyPrecisionAdamW
from luthier.trainer.directions import adafactor
from luthier.trainer.grok import GrokAdamW
from luthier.trainer.lomo import AdaLomo, Lomo
from luthier.trainer.lowrank import LowRank
from luthier.trainer.mini import MiniAdamW, count_blocks
from luthier.trainer.optimizers import make_optimizer
from luthier.trainer.ratio import RatioAdamW
from luthier.trainer.schedule_free import ScheduleFree
from luthier.trainer.stable import StableAdamW
from luthier.trainer.update import moved_early
from tests.conftest import make_tiny
from tests.trainer.bench_of import losses, make_trainer, weights

RATE = 0.01


def both(make_mine, make_theirs, shape=(6, 4), steps=6):
    """(mine, theirs) after the same gradients."""
    torch.manual_seed(0)
    start = torch.randn(shape)
    mine, theirs = Parameter(start.clone()), Parameter(start.clone())
    a, b = make_mine(mine), make_theirs(theirs)
    for _ in range(steps):
        gradient = torch.randn(shape)
        mine.grad, theirs.grad = gradient.clone(), gradient.clone()
        a.step()
        b.step()
    return mine.detach(), theirs.detach()


def near(pair):
    torch.testing.assert_close(*pair, rtol=0, atol=1e-6)


def test_lomo_is_gradient_descent():
    near(
        both(
            lambda p: Lomo([p], lr=RATE, weight_decay=0.0),
            lambda p: torch.optim.SGD([p], lr=RATE),
        )
    )


@pytest.mark.parametrize("shape", [(6, 4), (7,)])
def test_adalomo_is_adafactor_without_its_own_limit_of_the_rate(shape):
    """torch's Adafactor takes min(lr, 1 / sqrt(t)), which is lr here, and eps as the least second moment."""
    near(both(lambda p: AdaLomo([p], lr=RATE), lambda p: torch.optim.Adafactor([p], lr=RATE, eps=(1e-30, 1e-3)), shape))


@pytest.mark.parametrize(("shape", "blocks"), [((6, 4), 6), ((6, 4), 2), ((5,), 1), ((5,), 5)])
def test_adam_mini_by_hand(shape, blocks):
    """m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) mean over the block of g^2;  w -= lr m^ / (sqrt(v^) + eps)."""
    torch.manual_seed(0)
    weight = Parameter(torch.randn(shape))
    optimizer = MiniAdamW([weight], {weight: blocks}, lr=RATE, weight_decay=0.1)
    w, m, v = weight.detach().double().view(blocks, -1), 0.0, 0.0
    for step in range(1, 6):
        weight.grad = torch.randn(shape)
        g = weight.grad.double().view(blocks, -1)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g.square().mean(1, keepdim=True)
        w = w * (1 - RATE * 0.1) - RATE * (m / (1 - 0.9**step)) / ((v / (1 - 0.999**step)).sqrt() + 1e-8)
        optimizer.step()
    torch.testing.assert_close(weight.detach().double(), w.view(shape), rtol=0, atol=1e-6)


def test_blocks_of_adam_mini_are_heads_and_outputs():
    model = make_tiny("qwen3")
    text = model.config
    found = {name: count_blocks(model, text.head_dim)[p] for name, p in model.named_parameters()}
    assert found["model.layers.0.self_attn.q_proj.weight"] == text.num_attention_heads
    assert found["model.layers.0.self_attn.k_proj.weight"] == text.num_key_value_heads
    assert found["model.layers.0.mlp.down_proj.weight"] == text.hidden_size
    assert found["model.embed_tokens.weight"] == text.vocab_size
    assert found["model.norm.weight"] == 1


@pytest.mark.parametrize("mask", ["adjacent", "scatter"])
def test_a_share_of_the_weights_learns_as_adamw_would_move_it(mask):
    """A quarter of 200 numbers, two steps a turn: each turn is an AdamW of its own on 50 numbers, and four turns are all."""
    torch.manual_seed(0)
    mine = Parameter(torch.randn(20, 10))
    options = {"lr": RATE, "weight_decay": 0.1}
    optimizer = RatioAdamW([mine], ratio=0.25, mask=mask, interval=2, seed=0, **options)
    touched = torch.zeros(200, dtype=torch.int)
    for _ in range(4):
        before = mine.detach().clone()
        theirs = Parameter(before.clone())
        adamw = torch.optim.AdamW([theirs], **options)
        for _ in range(2):
            mine.grad = theirs.grad = torch.randn(20, 10)
            optimizer.step()
            adamw.step()
        moved = mine.detach() != before
        assert int(moved.sum()) == 50
        torch.testing.assert_close(mine.detach()[moved], theirs.detach()[moved], rtol=0, atol=1e-6)
        touched += moved.view(-1)
    assert touched.eq(1).all()


def test_embeddings_are_no_share_of_badam():
    model = make_tiny("qwen3")
    make_optimizer(model, Config(finetuning_type="full", use_badam=True, badam_mode="ratio"))
    assert not model.get_input_embeddings().weight.requires_grad and model.model.norm.weight.requires_grad


def test_stable_adamw_by_hand():
    """v^ = EMA with decay b2 (1 - b2^(t-1)) / (1 - b2^t);  rate = lr / max(1, sqrt(mean(g^2 / v)))."""
    torch.manual_seed(0)
    weight = Parameter(torch.randn(6, 4))
    optimizer = StableAdamW([weight], lr=RATE, weight_decay=0.1)
    w, ms, vs = weight.detach().double(), [], []
    for step in range(1, 8):
        weight.grad = torch.randn(6, 4) * 4**step
        ms.append(weight.grad.double())
        vs.append(weight.grad.double() ** 2)
        m = sum(0.1 * 0.9 ** (step - 1 - i) * g for i, g in enumerate(ms)) / (1 - 0.9**step)  # the bias-corrected average
        v = sum(0.01 * 0.99 ** (step - 1 - i) * g for i, g in enumerate(vs)) / (1 - 0.99**step)
        rate = RATE / max(1.0, float((vs[-1] / v).mean().sqrt()))
        assert step == 1 or rate < RATE
        w = w * (1 - rate * 0.1) - rate * m / (v.sqrt() + 1e-6)
        optimizer.step()
    torch.testing.assert_close(weight.detach().double(), w, rtol=0, atol=1e-6)


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (5,)])
def test_galore_over_adafactor_is_transformers_in_the_projected_space(shape):
    """The projection is taken once, of rank 2; what is no matrix is not projected."""
    torch.manual_seed(0)
    given = [torch.randn(shape) * 3**step for step in range(5)]
    mine, decay = Parameter(torch.ones(shape)), 0.1
    projection = {"rank": 2, "interval": 10, "scale": 0.25, "proj_type": "std"} if len(shape) == 2 else {}
    group = {"params": [mine], **projection}
    optimizer = LowRank([group], kind="galore", direction=adafactor, lr=RATE, weight_decay=decay)
    into, out_of = projected(given[0])
    low = Parameter(torch.zeros_like(into(given[0])))
    theirs = Adafactor([low], lr=RATE, scale_parameter=False, relative_step=False)
    weight = torch.ones(shape)
    for gradient in given:
        mine.grad, low.grad, before = gradient, into(gradient), low.detach().clone()
        optimizer.step()
        theirs.step()
        weight = weight * (1 - RATE * decay) + out_of(low.detach() - before)
    torch.testing.assert_close(mine.detach(), weight, rtol=0, atol=1e-6)


def projected(gradient, rank=2, scale=0.25):
    """(into the space of the first singular vectors on the shorter side, out of it times scale)"""
    if gradient.ndim == 1:
        return (lambda g: g), (lambda low: low)
    u, _, v = torch.linalg.svd(gradient, full_matrices=False)
    if gradient.shape[0] >= gradient.shape[1]:
        return (lambda g: g @ v[:rank].T), (lambda low: scale * low @ v[:rank])
    return (lambda g: u[:, :rank].T @ g), (lambda low: scale * u[:, :rank] @ low)


def test_grokadamw_by_hand():
    """s = a s + (1 - a) g;  h = g + 2 s;  m, v of h as in Adam, m's decay falling by a tenth from parameter to parameter;
    w -= lr sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + eps). Each gradient is held to a norm of 1."""
    torch.manual_seed(0)
    pair = [Parameter(torch.randn(6, 4)), Parameter(torch.randn(5))]
    optimizer = GrokAdamW(pair, lr=RATE, weight_decay=0.1)
    w, m, v, s = ([p.detach().double() for p in pair], *([0.0, 0.0] for _ in range(3)))
    for step in range(1, 6):
        for i, weight in enumerate(pair):
            weight.grad = torch.randn(weight.shape) * (0.1 if step == 3 else 1.0)
            g = weight.grad.double()
            g = g / max(1.0, float(g.norm()) + 1e-6)
            s[i] = 0.98 * s[i] + 0.02 * g
            h, first = g + 2 * s[i], 0.9 * 0.9**i
            m[i], v[i] = first * m[i] + (1 - first) * h, 0.999 * v[i] + 0.001 * h**2
            rate = RATE * (1 - 0.999**step) ** 0.5 / (1 - 0.9**step)
            w[i] = w[i] * (1 - RATE * 0.1) - rate * m[i] / (v[i].sqrt() + 1e-8)
        optimizer.step()
    for i, weight in enumerate(pair):
        torch.testing.assert_close(weight.detach().double(), w[i], rtol=0, atol=1e-6)


def test_anyprecision_in_float32_is_adamw():
    options = {"lr": RATE, "weight_decay": 0.1}
    near(both(lambda p: AnyPrecisionAdamW([p], **options), lambda p: torch.optim.AdamW([p], **options)))
    kahan = {"use_kahan_summation": True, "compensation_buffer_dtype": "float32"}
    near(both(lambda p: AnyPrecisionAdamW([p], **options, **kahan), lambda p: torch.optim.AdamW([p], **options)))


@pytest.mark.parametrize("kahan", [True, False])
def test_what_rounding_leaves_out_is_added_to_the_next_step(kahan):
    """A hundred steps of 1e-4 from 1, whose neighbour in bfloat16 is 1 - 1/256: kept, they add up to 0.01, else to 0."""
    coarse = Parameter(torch.ones(6, 4, dtype=torch.bfloat16))
    formats = {"momentum_dtype": "bfloat16", "variance_dtype": "bfloat16"}
    optimizer = AnyPrecisionAdamW([coarse], lr=1e-4, use_kahan_summation=kahan, **formats)
    for _ in range(100):
        coarse.grad = torch.ones_like(coarse)
        optimizer.step()
    state = optimizer.state[coarse]
    assert state["exp_avg"].dtype == state["exp_avg_sq"].dtype == torch.bfloat16
    reached = coarse.detach().double() + (state["compensation"].double() if kahan else 0)
    torch.testing.assert_close(reached, torch.full_like(reached, 0.99 if kahan else 1.0), rtol=0, atol=1e-4)


@pytest.mark.parametrize("kind", ["adamw", "sgd", "radam"])
def test_schedule_free_by_hand(kind):
    """z -= lr d(y);  x = (1 - c) x + c z, c = the share of this step's weight lr_max^2;  y = 0.1 z + 0.9 x."""
    torch.manual_seed(0)
    weight = Parameter(torch.randn(6, 4))
    optimizer = ScheduleFree([weight], kind=kind, lr=RATE, weight_decay=0.1, warmup=3 if kind != "radam" else 0)
    x = z = y = weight.detach().double()
    v, weights_sum, highest = 0.0, 0.0, 0.0
    for step in range(1, 9):
        weight.grad = torch.randn(6, 4)
        g = weight.grad.double()
        rate = RATE * (min(1.0, step / 3) if kind != "radam" else rectified(step))
        highest = max(highest, rate)
        weights_sum += highest**2
        if kind != "sgd":
            v = 0.999 * v + 0.001 * g**2
            g = g / ((v / (1 - 0.999**step)).sqrt() + 1e-8)
        z = z - rate * (g + 0.1 * y)
        c = highest**2 / weights_sum if weights_sum else 0.0
        x = (1 - c) * x + c * z
        y = 0.1 * z + 0.9 * x
        optimizer.step()
        torch.testing.assert_close(weight.detach().double(), y, rtol=0, atol=1e-6)
    optimizer.eval()
    torch.testing.assert_close(weight.detach().double(), x, rtol=0, atol=1e-6)
    optimizer.train()
    torch.testing.assert_close(weight.detach().double(), y, rtol=0, atol=1e-6)


def rectified(t, longest=2 / 0.001 - 1):
    """rho_t = rho_inf - 2 t b2^t / (1 - b2^t); r_t of RAdam, or 0 where rho_t <= 4."""
    now = longest - 2 * t * 0.999**t / (1 - 0.999**t)
    return ((now - 4) * (now - 2) * longest / ((longest - 4) * (longest - 2) * now)) ** 0.5 if now > 4 else 0.0


LAYERWISE = {
    "galore": ({"use_galore": True, "galore_rank": 4}, {"galore_layerwise": True}),
    "apollo": ({"use_apollo": True, "apollo_rank": 4}, {"apollo_layerwise": True}),
    "galore over Adafactor": ({"optim": "galore_adafactor"}, {"optim": "galore_adafactor_layerwise"}),
}


@pytest.mark.parametrize("micro_batch_tokens", [40, 4096])
@pytest.mark.parametrize("name", LAYERWISE)
def test_law_6_moving_as_gradients_come_changes_no_bit(tmp_path, name, micro_batch_tokens):
    plain, early = LAYERWISE[name]
    keys = plain | {"max_grad_norm": 0.0, "num_train_epochs": 1.0, "micro_batch_tokens": micro_batch_tokens}
    a, b = make_trainer(tmp_path / "a", **keys), make_trainer(tmp_path / "b", **(keys | early))
    a.fit()
    b.fit()
    assert losses(a) == losses(b)
    norms = [[row["grad_norm"] for row in trainer.run.read_metrics() if "grad_norm" in row] for trainer in (a, b)]
    assert norms[0] == pytest.approx(norms[1], rel=1e-5)
    assert all(torch.equal(tensor, weights(b)[key]) for key, tensor in weights(a).items())


def test_gradients_are_gone_when_the_backward_pass_is_over(tmp_path):
    trainer = make_trainer(tmp_path / "run", optim="adalomo", micro_batch_tokens=4096)
    held = []
    trainer.optimizer.step = lambda *_: held.extend(p for p in trainer.model.parameters() if p.grad is not None)
    trainer.fit()
    assert not held


def test_no_weight_moves_by_a_loss_that_is_no_number(tmp_path):
    trainer = make_trainer(tmp_path / "run", optim="lomo", learning_rate=1e-3)
    with torch.no_grad():
        trainer.model.model.norm.weight[0] = float("nan")
    before = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
    with pytest.raises(TrainingError, match="the loss is nan"):
        trainer.fit()
    assert all(torch.equal(before[name], p) or "norm" in name for name, p in trainer.model.named_parameters())


def test_what_is_evaluated_and_saved_of_a_schedule_free_training_is_the_average(tmp_path):
    keys = {"optim": "schedule_free_adamw", "lr_scheduler_type": "constant", "num_train_epochs": 1.0}
    trainer = make_trainer(tmp_path / "run", **keys)
    trainer.fit()
    assert not trainer.optimizer.learning
    averaged = weights(trainer)
    trainer.evaluate()
    assert all(torch.equal(tensor, weights(trainer)[key]) for key, tensor in averaged.items())


def test_layerwise_updates_are_for_one_device(tmp_path):
    trainer = make_trainer(tmp_path / "run", optim="lomo")
    trainer.parallel.world_size = 2
    with pytest.raises(ConfigError, match="one device"):
        moved_early(trainer.config, trainer.optimizer, trainer.parallel)
