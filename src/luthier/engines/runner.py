"""One transformers model (or a PEFT model around one) made ready to generate, and put back as it was afterwards.

Enters: token ids, positions, a mask, a cache. Leaves: the logits of the next token.
Never: computes gradients, keeps the model in another state than it found it in once nothing is generated.
"""

from __future__ import annotations

import contextlib
import inspect
import logging
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache, PretrainedConfig
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from luthier.engines.base import BASE
from luthier.engines.direct import Direct, fits
from luthier.engines.slots import SlotCache
from luthier.engines.waves import WaveCache
from luthier.errors import EngineError

OPEN_ENDED = {"linear", "dynamic"}
"""RoPE scalings whose max_position_embeddings is the length before scaling."""

TRIAL = [0, 1]
"""Token ids that any vocabulary has."""

AGREEMENT = {torch.float32: 1e-3}
AGREEMENT_ROUNDED = 0.03
"""Most that the logits of two ways may differ, as a part of the largest; bfloat16 has 8 bits, and each way rounds elsewhere."""

log = logging.getLogger(__name__)


class Runner:
    """The model behind an engine.

    context_length: the most tokens that a prompt and its answer may have; None: unlimited.  vocabulary: rows of its embedding.
    """

    def __init__(self, model: nn.Module):
        self.model = model
        self.inner = model.get_base_model() if hasattr(model, "get_base_model") else model
        self.context_length = context_length(self.inner.config)
        self.vocabulary = self.inner.get_input_embeddings().weight.shape[0]
        self._accepts = set(inspect.signature(self.inner.forward).parameters)
        self._restore: list[nn.Module] | None = None
        self._attention = ""
        self._may_go_direct = False  # until a trial has shown that it gives the same
        self._direct: Direct | None = None

    @property
    def device(self) -> torch.device:
        return self.inner.get_input_embeddings().weight.device

    def enter(self) -> None:
        """Evaluation mode, and an attention that knows masks. Does nothing where that is so already."""
        if self._restore is not None:
            return
        self._restore = [module for module in self.model.modules() if module.training]
        self._attention = self.inner.config._attn_implementation
        self.model.eval()
        if self._attention not in ("sdpa", "eager"):
            self.inner.set_attn_implementation("sdpa" if self.inner._supports_sdpa else "eager")
        self._direct = Direct(self.inner) if self._may_go_direct and self._fits_direct() else None

    def leave(self) -> None:
        """Undo enter."""
        if self._restore is None:
            return
        if self.inner.config._attn_implementation != self._attention:
            self.inner.set_attn_implementation(self._attention)
        for module in self._restore:
            module.training = True
        self._restore = self._direct = None

    def make_cache(self) -> SlotCache | WaveCache:
        """The cache that suits this model; what its states look like is found by running two tokens."""
        probe = DynamicCache(config=self.inner.config)
        logits_BV = self.forward([TRIAL], None, probe)
        if all(type(layer) in (DynamicLayer, DynamicSlidingWindowLayer) and layer.is_initialized for layer in probe.layers):
            cache = SlotCache([(layer.keys[:, :, :1], layer.values[:, :, :1]) for layer in probe.layers])
            self._direct = self._try_direct(cache, logits_BV)
            self._may_go_direct = self._direct is not None
            return cache
        return WaveCache(self.inner.config, self.device, bytes_of(probe) // len(TRIAL))

    def _try_direct(self, cache: SlotCache, wanted_BV: Tensor) -> Direct | None:
        """The direct way, where it gives the model's own logits after TRIAL; None where it does not, or does not fit."""
        if not self._fits_direct():
            return None
        direct = Direct(self.inner)
        self.forward([TRIAL[:1]], cache.begin_prefill([1]), cache)
        cache.end_prefill([1])
        mask = cache.begin_step()
        second, position = (torch.tensor([number], device=self.device) for number in (TRIAL[1], 1))
        with torch.no_grad():
            found_BV = direct.step(second, position, mask, cache)
        cache.clear()
        difference = (found_BV - wanted_BV).abs().max() / wanted_BV.abs().max().clamp(min=1e-6)
        if difference <= AGREEMENT.get(cache.layers[0].keys.dtype, AGREEMENT_ROUNDED):
            return direct
        log.info("the direct way through %s differs by %.2g: its own is taken.", type(self.inner).__name__, difference)
        return None

    def _fits_direct(self) -> bool:
        """Whether the base model alone makes the logits (no prompt learned before it), in layers that the direct way knows, and
        in one precision (autocast chooses one for each operation)."""
        if torch.is_autocast_enabled(self.device.type):
            return False
        adapted = getattr(self.model, "active_peft_config", None)
        alone = self.model is self.inner or (adapted is not None and not adapted.is_prompt_learning)
        return alone and fits(self.inner)

    @torch.no_grad()
    def forward(
        self,
        ids: Sequence[Sequence[int]],
        mask: Tensor | None,
        cache: Any,
        positions: Sequence[int] | None = None,
        adapters: Sequence[str | None] = (),
    ) -> Tensor:
        """Logits after the last token of each row, float32 (B, V).

        ids: rows of different length are padded on the left; mask (B, columns) tells the padding from the rest.
        positions: of each row's only token, where the cache holds others; None for whole prompts.
        adapters: the adapter of each row, where they are asked for by name.
        """
        named = any(name is not None for name in adapters)
        if positions is not None and self._direct is not None and not named:
            ids_B, positions_B = torch.tensor([[row[0] for row in ids], list(positions)], device=self.device)
            return self._direct.step(ids_B, positions_B, mask, cache)
        longest = max(map(len, ids))
        rows = torch.tensor([[0] * (longest - len(row)) + list(row) for row in ids], device=self.device)
        inputs: dict[str, Any] = {"input_ids": rows, "use_cache": True}
        if "cache_params" in self._accepts:  # Mamba: its mask is of the tokens given now, and padding is never given again
            inputs |= {"cache_params": cache, "attention_mask": mask if positions is None else None}
        else:
            inputs |= {"past_key_values": cache, "attention_mask": mask}
        if "position_ids" in self._accepts:
            inputs["position_ids"] = self._positions(ids, positions, longest)
        if "logits_to_keep" in self._accepts:
            inputs["logits_to_keep"] = 1
        if named:
            inputs["adapter_names"] = [name or self.model.active_adapter for name in adapters]
        return self.model(**inputs, return_dict=True).logits[:, -1].float()

    def hidden(self, rows: Sequence[Sequence[int]], mask: Sequence[Sequence[int]], adapters: Sequence[str | None]) -> Tensor:
        """Hidden states after the last norm, (B, T, H). rows of equal length, padded on the right where mask is 0."""
        inputs: dict[str, Any] = {"input_ids": torch.tensor(rows, device=self.device), "use_cache": False}
        if "cache_params" not in self._accepts:
            inputs["attention_mask"] = torch.tensor(mask, device=self.device)
        with self._as(adapters[0]):
            return self.inner.get_decoder()(**inputs, return_dict=True).last_hidden_state

    @contextlib.contextmanager
    def _as(self, adapter: str | None) -> Iterator[None]:
        """The whole model with one adapter; None: the active one."""
        if adapter is None:
            yield
        elif adapter == BASE:
            with self.model.disable_adapter() if hasattr(self.model, "disable_adapter") else contextlib.nullcontext():
                yield
        else:
            before = self.model.active_adapter
            self.model.set_adapter(adapter)
            try:
                yield
            finally:
                self.model.set_adapter(before)

    def check_adapter(self, name: str | None) -> None:
        """Raise EngineError where the model has no adapter of this name."""
        known = list(getattr(self.model, "peft_config", {}))
        if name is not None and name not in [*known, BASE]:
            raise EngineError(f'the model has no adapter "{name}".', f"It has: {', '.join(known) or 'none'}")

    def _positions(self, ids: Sequence[Sequence[int]], positions: Sequence[int] | None, longest: int) -> Tensor:
        if positions is not None:
            return torch.tensor(positions, device=self.device)[:, None]
        padding = torch.tensor([longest - len(row) for row in ids], device=self.device)
        return (torch.arange(longest, device=self.device) - padding[:, None]).clamp(min=0)


def context_length(config: PretrainedConfig) -> int | None:
    """The most tokens that a model was made for; None where nothing limits them."""
    text = config.get_text_config()
    length = getattr(text, "max_position_embeddings", None)
    scaling = getattr(text, "rope_parameters", None) or {}
    if length and scaling.get("rope_type") in OPEN_ENDED:
        return int(length * scaling.get("factor", 1))
    return length


def bytes_of(cache: DynamicCache) -> int:
    """Memory of the keys and values in a cache."""
    states = [state for layer in cache.layers for state in (getattr(layer, "keys", None), getattr(layer, "values", None))]
    return sum(state.numel() * state.element_size() for state in states if state is not None)
