"""The limit: the fewest seconds in which this machine can do the matrix products that a LoRA step must do.

    python -m bench.limit [--model small] [--threads 2]

Counted, per token unless said otherwise, for a step that learns only LoRA matrices (multiply and add are 2):

    linear layers    2 N forward, 2 N backward (to the input; frozen weights need none), but q, k, v of the first layer need no
                     backward: nothing before them learns
    LoRA matrices    2 N forward, 4 N backward, less the way to the input for q, k, v of the first layer
    attention        of a segment of L tokens, causal: 2 L^2 D forward, 4 L^2 D backward a layer (D = heads x head_dim)
    output head      2 H V forward, 2 H V backward, at supervised tokens only

Norms, activations, softmax and the optimizer are taken as free, so no program reaches this limit.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass

from bench.models import SHAPES, Shape

SIZES = (512, 768, 1024, 1536, 2048)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFlops:
    linear: float
    lora: float
    attention: float
    head: float

    @property
    def total(self) -> float:
        return self.linear + self.lora + self.attention + self.head


def lora_flops(shape: Shape, lengths: Sequence[int], supervised: int, rank: int) -> StepFlops:
    """FLOPs of forward and backward over segments of these lengths with `supervised` learned tokens in all."""
    tokens = sum(lengths)
    q, kv, hidden, mlp = (
        shape.heads * shape.head_dim,
        shape.kv_heads * shape.head_dim,
        shape.hidden_size,
        shape.intermediate_size,
    )
    qkv = hidden * (q + 2 * kv)
    layer = qkv + q * hidden + 3 * hidden * mlp
    sides = (hidden + q) + 2 * (hidden + kv) + (q + hidden) + 2 * (hidden + mlp) + (mlp + hidden)
    return StepFlops(
        linear=tokens * (4 * layer * shape.layers - 2 * qkv),
        lora=tokens * rank * (6 * sides * shape.layers - 2 * 3 * hidden),
        attention=6 * sum(length**2 for length in lengths) * q * shape.layers,
        head=4 * supervised * hidden * shape.vocab_size,
    )


def matmul_rate(threads: int, seconds: float = 3.0) -> float:
    """The best float32 matrix product rate of this machine in FLOP/s, over several square sizes, each tried for a while."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        best = 0.0
        for size in SIZES:
            left, right, out = torch.rand(size, size), torch.rand(size, size), torch.empty(size, size)
            end = time.perf_counter() + seconds / len(SIZES)
            while time.perf_counter() < end:
                start = time.perf_counter()
                torch.mm(left, right, out=out)
                best = max(best, 2 * size**3 / (time.perf_counter() - start))
        return best
    finally:
        torch.set_num_threads(before)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.limit", description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="small", choices=SHAPES)
    parser.add_argument("--tokens", type=int, default=192, help="tokens of one row, of which --supervised are learned")
    parser.add_argument("--supervised", type=int, default=140)
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    flops = lora_flops(SHAPES[options.model], [options.tokens], options.supervised, options.rank)
    rate = matmul_rate(options.threads)
    for part in ("linear", "lora", "attention", "head"):
        print(f"{part:10s} {getattr(flops, part) / options.tokens / 1e6:8.1f} MFLOP a token")
    print(f"rate       {rate / 1e9:8.1f} GFLOP/s float32, {options.threads} threads")
    print(f"limit      {options.tokens / (flops.total / rate):8.0f} tokens/s")


if __name__ == "__main__":
    main()
