"""One more token a row, straight through the layers of a Llama-like decoder: what the model computes, without its wrappers.

A small model's step is mostly the way to its matrix products: some forty Python calls a layer for modules, hooks, masks, caches
and norms in six operations. Here the layers' own weights are used, in the model's own order:

    x = x + o(attention(rope(norm(q x')), rope(norm(k x')), v x'))      x' = norm(x)
    x = x + down(act(gate x') * up x')                                  x' = norm(x)

The model itself is the reference: a Runner takes this way only where it gave the same logits at a trial.

Enters: the newest token of each row, a SlotCache that holds the others. Leaves: logits of the next one.
Never: reads a prompt, switches adapters within a batch, keeps a weight of the model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from luthier.engines.slots import SlotCache

FAMILIES = ("llama", "mistral", "qwen2", "qwen3")
"""model_type of the configs whose layers are as above."""

ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {"silu": F.silu}

Map = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Layer:
    """q_norm, k_norm: None where the family has none.  window: how many tokens it sees; None for all."""

    norm: Map
    q: Map
    k: Map
    v: Map
    o: Map
    q_norm: Map | None
    k_norm: Map | None
    scale: float
    window: int | None
    mlp_norm: Map
    gate: Map
    up: Map
    down: Map


class Direct:
    """The parts of a model that is about to generate; made anew each time, because adapters may have come or gone."""

    def __init__(self, inner: nn.Module):
        """inner: a causal language model for which `fits` is true."""
        body, config = inner.model, inner.config
        self._head_dim = body.layers[0].self_attn.head_dim
        self._key_heads = config.num_key_value_heads
        self._activation = ACTIVATIONS[config.hidden_act]
        self._embed, self._rotary = body.embed_tokens, body.rotary_emb
        self._norm, self._head = _norm(body.norm), _linear(inner.lm_head)
        self._layers = [_layer(layer, getattr(config, "sliding_window", None)) for layer in body.layers]

    def step(self, ids_B: Tensor, positions_B: Tensor, mask_BT: Tensor | None, cache: SlotCache) -> Tensor:
        """Logits (B, V) after ids_B; cache.begin_step() gave mask_BT and says where keys and values go."""
        slots, key_heads, dim = cache.slots, self._key_heads, self._head_dim
        rows, column = slots.rows, slots.write_from
        count = len(ids_B)
        x_BH = self._embed(ids_B)
        cos_B1D, sin_B1D = (each.view(count, 1, dim) for each in self._rotary(x_BH, positions_B[:, None]))
        # x * cos + rotate_half(x) * sin, the sign of rotate_half moved into sin
        sin_B1D = torch.cat((-sin_B1D[..., : dim // 2], sin_B1D[..., dim // 2 :]), -1)
        mask_B11T = None if mask_BT is None else mask_BT[:, None, None]
        for layer, kept in zip(self._layers, cache.layers):
            seen_from = slots.read_from if layer.window is None else max(slots.read_from, column + 1 - layer.window)
            y_BH = layer.norm(x_BH)
            q_BND, k_BND = layer.q(y_BH).view(count, -1, dim), layer.k(y_BH).view(count, -1, dim)
            if layer.q_norm and layer.k_norm:
                q_BND, k_BND = layer.q_norm(q_BND), layer.k_norm(k_BND)
            q_BND = q_BND * cos_B1D + q_BND.roll(dim // 2, -1) * sin_B1D
            kept.keys[rows, :, column] = k_BND * cos_B1D + k_BND.roll(dim // 2, -1) * sin_B1D
            kept.values[rows, :, column] = layer.v(y_BH).view(count, -1, dim)
            seen = slice(seen_from, column + 1)
            # the query heads of one key head attend as if they were several tokens, so keys are not repeated
            heads_BKGD = F.scaled_dot_product_attention(
                q_BND.view(count, key_heads, -1, dim),
                kept.keys[rows, :, seen],
                kept.values[rows, :, seen],
                attn_mask=None if mask_B11T is None else mask_B11T[..., seen_from - slots.read_from :],
                scale=layer.scale,
            )
            x_BH = x_BH + layer.o(heads_BKGD.reshape(count, -1))
            y_BH = layer.mlp_norm(x_BH)
            x_BH = x_BH + layer.down(self._activation(layer.gate(y_BH)) * layer.up(y_BH))
        return self._head(self._norm(x_BH)).float()


def fits(inner: nn.Module) -> bool:
    """Whether a model's layers are as above, and nobody listens to them (hooks move weights between devices, for one)."""
    config = inner.config
    if config.model_type not in FAMILIES or config.hidden_act not in ACTIVATIONS or type(inner).__name__[-8:] != "CausalLM":
        return False
    return not any(module._forward_hooks or module._forward_pre_hooks for module in inner.modules())


def _layer(layer: nn.Module, all_see: int | None) -> Layer:
    """all_see: the window of layers that do not name their own (Mistral); None where there is none."""
    attention, mlp = layer.self_attn, layer.mlp
    q_norm, k_norm = getattr(attention, "q_norm", None), getattr(attention, "k_norm", None)
    return Layer(
        norm=_norm(layer.input_layernorm),
        q=_linear(attention.q_proj),
        k=_linear(attention.k_proj),
        v=_linear(attention.v_proj),
        o=_linear(attention.o_proj),
        q_norm=_norm(q_norm) if q_norm else None,
        k_norm=_norm(k_norm) if k_norm else None,
        scale=attention.scaling,
        window=getattr(attention, "sliding_window", all_see),
        mlp_norm=_norm(layer.post_attention_layernorm),
        gate=_linear(mlp.gate_proj),
        up=_linear(mlp.up_proj),
        down=_linear(mlp.down_proj),
    )


def _linear(module: nn.Module) -> Map:
    """A plain layer's product itself; an adapter's or a quantised layer's as its module does it."""
    return partial(F.linear, weight=module.weight, bias=module.bias) if type(module) is nn.Linear else module


def _norm(module: nn.Module) -> Map:
    """RMSNorm as the model has it: scaled in float32, rounded, then weighted."""
    weight, eps = module.weight, module.variance_epsilon
    if weight.dtype == torch.float32:
        return partial(F.rms_norm, normalized_shape=weight.shape, weight=weight, eps=eps)
    return lambda x: weight * F.rms_norm(x.float(), weight.shape, eps=eps).to(x.dtype)
