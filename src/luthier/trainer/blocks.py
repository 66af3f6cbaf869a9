"""BAdam (Luo et al. 2024, arXiv:2404.02827): full tuning block by block, with the optimizer memory of one block."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import nn

from luthier.errors import ConfigError

logger = logging.getLogger(__name__)

LAYER = re.compile(r"^(.*?\.\d+)\.")


class BlockAdamW(torch.optim.AdamW):
    """Only one block learns at a time: its parameters alone need gradients and have moments, which are forgotten when the next
    one's turn comes, after `interval` steps.

    blocks: names of parameters, a list a block.  order: ascending, descending, random or fixed.  start: the first block; None:
    the first of the order (the last, for descending).  Which block learns is a function of the number of steps alone.
    verbose: 1 says at each turn whose it is, 2 also the shapes of what learns.
    """

    def __init__(
        self,
        groups: Iterable[dict[str, Any]],
        blocks: list[list[nn.Parameter]],
        *,
        order: str,
        interval: int,
        start: int | None,
        seed: int,
        verbose: int = 0,
        **options: Any,
    ):
        super().__init__(groups, **options)
        self._blocks, self._order, self._interval, self._seed = blocks, order, interval, seed
        count = len(blocks)
        if start is not None and not 0 <= start < count:
            raise ConfigError(f"badam_start_block: {start}; this model has the blocks 0 to {count - 1}.")
        self._start = start if start is not None else (count - 1 if order == "descending" else 0)
        self._clock, self._verbose = blocks[0][0], verbose
        self._steps = 0
        self._turn()

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        for number, block in enumerate(self._blocks):
            for parameter in block if number != self.active(self._steps) else ():
                parameter.grad = None  # a sum over ranks makes zeros of what is missing
        self._take_clock()
        loss = super().step(closure)
        self._steps += 1
        if self._steps % self._interval == 0:
            self._turn()
        self.state[self._clock]["clock"] = torch.tensor(float(self._steps))  # so that checkpoints hold the number of steps
        return loss

    def resumed(self) -> None:
        """After the state was restored: let the block learn whose turn it is."""
        self._steps = int(self.state[self._clock]["clock"])
        self._turn()

    def _take_clock(self) -> None:
        """AdamW takes a state with anything in it for one that it began itself."""
        state = self.state.get(self._clock, {})
        state.pop("clock", None)
        if not state:
            self.state.pop(self._clock, None)

    def _turn(self) -> None:
        active = self.active(self._steps)
        if self._verbose:
            shapes = ", ".join(str(tuple(p.shape)) for p in self._blocks[active]) if self._verbose > 1 else ""
            logger.info("BAdam: block %d of %d learns now%s", active + 1, len(self._blocks), f": {shapes}" if shapes else "")
        for number, block in enumerate(self._blocks):
            for parameter in block:
                parameter.requires_grad_(number == active)
                if number != active or self._steps % self._interval == 0:
                    clock = self.state.pop(parameter, {}).get("clock")
                    if clock is not None:
                        self.state[parameter]["clock"] = clock

    def active(self, done: int) -> int:
        """The number of the block that learns after so many steps."""
        turn, count = done // self._interval, len(self._blocks)
        if self._order == "fixed":
            return self._start
        if self._order == "random":
            round_, place = divmod(turn, count)
            return int(np.random.Generator(np.random.PCG64([self._seed, round_])).permutation(count)[place])
        return (self._start + turn * (-1 if self._order == "descending" else 1)) % count


def blocks_of(model: nn.Module) -> list[list[nn.Parameter]]:
    """The parameters of each layer; what lies outside the layers (embeddings, last norm, head) is no block and stays frozen."""
    found: dict[str, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if match := LAYER.match(name):
            found.setdefault(match[1], []).append(parameter)
    return list(found.values())
