"""Moments in 8 and 4 bits: against bitsandbytes, torchao and the nearest level by brute force; pieces, checkpoints, sizes."""

import pytest
import torch
from torch.nn import Parameter

from luthier.config import Config
from luthier.trainer import few_bits
from luthier.trainer.checkpoint import optimizer_tensors, restore_optimizer
from luthier.trainer.few_bits import AdamInBits, AdamWInBits, codebook, levels_of, rounded_by_chance
from luthier.trainer.lowrank import LowRank
from luthier.trainer.optimizers import make_optimizer
from luthier.trainer.parts import Parts, write_part
from tests.conftest import make_tiny

RATE = 0.01
CPU = torch.device("cpu")


def gradients(shape, steps, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) * 3.0**number for number in range(steps)]


def after(optimizer_of, shape=(64, 128), steps=6, start=1.0):
    """(weight, optimizer) after steps of the same gradients."""
    weight = Parameter(torch.full(shape, start))
    optimizer = optimizer_of(weight)
    for gradient in gradients(shape, steps):
        weight.grad = gradient
        optimizer.step()
    return weight, optimizer


def in_bits(bits, **options):
    return lambda weight: AdamWInBits([weight], bits=bits, lr=RATE, **options)


@pytest.mark.parametrize("signed", [True, False])
def test_levels_are_those_of_bitsandbytes(signed):
    functional = pytest.importorskip("bitsandbytes.functional")
    assert torch.equal(levels_of(8, signed), functional.create_dynamic_map(signed=signed))


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("signed", [True, False])
def test_every_number_finds_its_code(bits, signed):
    """At each middle between two levels, one float32 below it, and at both ends of what shares its upper 16 bits."""
    book, levels = codebook(bits, signed, CPU), levels_of(bits, signed)
    middles = (levels[1:] + levels[:-1]) / 2
    below = torch.nextafter(middles, torch.tensor(-2.0))
    ends = torch.arange(-(1 << 15), 1 << 15, dtype=torch.int32) << 16
    numbers = torch.cat((middles, below, levels, ends.view(torch.float32), (ends | 0xFFFF).view(torch.float32)))
    numbers = numbers[numbers.abs() <= 1]
    assert torch.equal(book.nearest(numbers).long(), torch.bucketize(numbers, middles, right=True))


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("signed", [True, False])
def test_what_is_kept_is_the_nearest_level(bits, signed):
    """By brute force over all levels; a block has its largest size as its scale, and another block another."""
    kept, name = AdamInBits(bits=bits, block=64), "exp_avg" if signed else "exp_avg_sq"
    numbers = torch.randn(128, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0] * 64 + [1e-6] * 64)
    numbers = numbers if signed else numbers.square()
    state = {name: torch.zeros(2, 64 * bits // 8, dtype=torch.uint8), f"{name}_scale": torch.zeros(2, 1)}
    kept._write(state, name, slice(0, 2), numbers)
    blocks = numbers.view(2, 64)
    scale = blocks.abs().max(1, keepdim=True).values
    scaled, levels = (blocks / scale).double(), levels_of(bits, signed).double()
    found = kept._read(state, name, slice(0, 2), 128).view(2, 64).double() / scale
    assert len(levels) == 2**bits
    least = (scaled[..., None] - levels).abs().min(-1).values
    torch.testing.assert_close((scaled - found).abs(), least, rtol=0, atol=1e-6)


@pytest.mark.parametrize("bits", [8, 4])
def test_a_step_is_torchaos(bits):
    """Its step is compiled; without a compiler the same lines run one by one. A code may be one off where a number lies between
    two levels, in at most one of a thousand."""
    optim = pytest.importorskip("torchao.optim")
    options = {"weight_decay": 0.1, "block_size": 256}
    mine, a = after(in_bits(bits, **options))
    with torch.compiler.set_stance("force_eager"):
        theirs, b = after(lambda p: getattr(optim, f"AdamW{bits}bit")([p], lr=RATE, **options))
    same = (mine - theirs).abs() < 1e-6
    assert same.float().mean() > 0.999
    for name in ("exp_avg", "exp_avg_sq"):
        codes, theirs = a.state[mine][name].view(-1), b.state[next(iter(b.state))][name].codes.view(-1)
        assert (codes == theirs).float().mean() > 0.999


def test_a_step_is_nearly_bitsandbytes():
    """Its CPU kernel looks levels up in a table that is coarse near 0: three codes of a hundred are not the nearest."""
    optim = pytest.importorskip("bitsandbytes.optim")
    mine, _ = after(in_bits(8, weight_decay=0.1))
    theirs, _ = after(lambda p: optim.AdamW8bit([p], lr=RATE, weight_decay=0.1))
    assert ((mine - theirs).abs() < 1e-6).float().mean() > 0.95
    torch.testing.assert_close(mine, theirs, rtol=0, atol=0.1 * RATE)


@pytest.mark.parametrize("shape", [(80, 64), (64, 80)])
@pytest.mark.parametrize(("package", "near"), [("torchao", 1e-6), ("bitsandbytes", 0.05 * RATE)])
def test_galore_in_8_bits_is_their_step_in_the_projected_space(shape, package, near):
    """The projection is taken once; rank 64 leaves 64 x 64 numbers or more, which are kept in 8 bits."""
    optim = pytest.importorskip(f"{package}.optim")
    options = {"rank": 64, "interval": 10, "scale": 0.25, "proj_type": "std"}
    mine, optimizer = after(
        lambda p: LowRank([{"params": [p], **options}], kind="galore", direction=AdamInBits(bits=8), lr=RATE), shape
    )
    assert optimizer.state[mine]["exp_avg"].dtype == torch.uint8
    given = gradients(shape, 6)
    u, _, v = torch.linalg.svd(given[0], full_matrices=False)
    tall = shape[0] > shape[1]
    low = Parameter(torch.zeros(shape[0], 64) if tall else torch.zeros(64, shape[1]))
    theirs = optim.Adam8bit([low], lr=RATE)
    with torch.compiler.set_stance("force_eager"):
        for gradient in given:
            low.grad = gradient @ v[:64].T if tall else u[:, :64].T @ gradient
            theirs.step()
    expected = 1 + 0.25 * (low @ v[:64] if tall else u[:, :64] @ low)
    torch.testing.assert_close(mine, expected, rtol=0, atol=near)


def test_a_part_of_a_block_is_a_block():
    """5,000 numbers in blocks of 256: the last has 136, and nothing beyond it moves them."""
    longer, _ = after(in_bits(8), shape=(5120,))
    shorter = Parameter(torch.ones(5000))
    optimizer = in_bits(8)(shorter)
    for gradient in gradients((5120,), 6):
        shorter.grad = gradient[:5000]
        optimizer.step()
    assert torch.equal(shorter[: 256 * 19], longer[: 256 * 19])
    assert torch.isfinite(shorter).all() and optimizer.state[shorter]["exp_avg"].shape == (20, 256)


@pytest.mark.parametrize("bits", [8, 4])
def test_pieces_change_no_bit(bits, monkeypatch):
    whole, _ = after(in_bits(bits), shape=(5001,))
    monkeypatch.setattr(few_bits, "PIECE", 3)
    assert torch.equal(after(in_bits(bits), shape=(5001,))[0], whole)


@pytest.mark.parametrize("bits", [8, 4])
def test_a_checkpoint_holds_every_bit(bits, tmp_path):
    whole, _ = after(in_bits(bits))
    weight, optimizer = after(in_bits(bits), steps=3)
    names = {id(weight): "w"}
    (tmp_path / "trainer").mkdir()
    write_part(tmp_path, 0, optimizer_tensors(optimizer, names))
    again = in_bits(bits)(weight)
    restore_optimizer(again, names, Parts(tmp_path))
    for gradient in gradients(weight.shape, 6)[3:]:
        weight.grad = gradient
        again.step()
    assert torch.equal(weight, whole)


def test_small_parameters_are_plain_adamw():
    mine, _ = after(in_bits(8, weight_decay=0.1), shape=(64, 63))
    theirs, _ = after(lambda p: torch.optim.AdamW([p], lr=RATE, weight_decay=0.1), shape=(64, 63))
    torch.testing.assert_close(mine, theirs)


def test_rounding_by_chance_is_right_on_average():
    """1 + 1/512 lies a quarter of the way from 1 to the next bfloat16 number, 1 + 1/128."""
    torch.manual_seed(0)
    for sign in (1, -1):
        drawn = rounded_by_chance(torch.full((40000,), sign * (1 + 1 / 512))).float()
        assert set(drawn.tolist()) == {sign * 1.0, sign * (1 + 1 / 128)}
        assert abs(drawn.double().mean()) == pytest.approx(1 + 1 / 512, abs=1e-4)
    exact = torch.randn(1000).bfloat16()
    assert torch.equal(rounded_by_chance(exact.float()), exact)


def test_small_steps_of_bfloat16_weights_are_not_lost():
    def moved(by_chance):
        torch.manual_seed(0)
        weight = Parameter(torch.ones(64, 64, dtype=torch.bfloat16))
        optimizer = AdamWInBits([weight], bits=8, lr=1e-4, bf16_stochastic_round=by_chance)
        for _ in range(10):
            weight.grad = torch.ones_like(weight)
            optimizer.step()
        return 1 - float(weight.detach().double().mean())

    assert moved(False) == 0
    assert moved(True) == pytest.approx(1e-3, rel=0.1)


@pytest.mark.parametrize(("name", "most"), [("adamw_torch_8bit", 0.26), ("adamw_torch_4bit", 0.135)])
def test_they_take_a_quarter_and_an_eighth(name, most):
    def held(optim):
        model = make_tiny("qwen3", vocab_size=960, hidden_size=64, intermediate_size=192, head_dim=16, num_key_value_heads=4)
        optimizer = make_optimizer(model, Config(finetuning_type="full", optim=optim))
        model(input_ids=torch.tensor([[3, 4, 5]]), labels=torch.tensor([[3, 4, 5]])).loss.backward()
        optimizer.step()
        return sum(tensor.nbytes for state in optimizer.state.values() for tensor in state.values())

    assert held(name) < most * held("adamw_torch") + 8000  # norms stay in float32
