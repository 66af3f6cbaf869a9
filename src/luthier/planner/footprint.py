"""What one token costs a model: bytes kept for the backward pass and multiplications, found on the meta device without weights.

Enters: a net on the meta device, its adapter attached. Leaves: a Footprint. The model's own forward pass runs on shapes
alone, and what autograd keeps is counted: every architecture and adapter as it is, not by a formula for one of them.
Attention that no fused kernel can do (capped logits, sinks, windows shorter than the samples) keeps something for each pair of
tokens; that part is told from the rest by two passes of different lengths.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface

from luthier.runtime.quiet import quiet_transformers

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ATTENTION = "luthier_forecast"
PROBE_TOKENS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """Sizes of a net. Bytes and multiply-adds a token are those of the whole net; the output head is told apart.

    layers: how many hidden layers.  heads: of attention, in all layers.  head_size: values of one.  hidden, vocabulary: sizes.
    widest: values a token of the largest matrix product.
    parameters, trainable: counts.  weight_bytes, trainable_bytes: in the dtypes of the net.  head_learns: the head is trained.
    ends_bytes: of the embeddings and the head, once where they are one.
    capped: logits go through a cap (Gemma 2), which keeps a copy.
    unpacked_bytes: of the largest matrix of a quantised base, made whole for its product.  mapped_bytes: of the full weights it
    was quantised from, which a CPU keeps mapped with the embeddings of the same file.  value_bytes: of one value in a layer,
    which is more than a weight takes in a quantised base.
    kept: bytes a token kept for the backward pass.  kept_checkpointed: the same with gradient checkpointing.
    kept_pairs: bytes kept for each pair of tokens of one sample (its length squared), where attention is not fused.
    gradient_bytes, optimizer_bytes: of the parameters that learn at one time; without a better knowledge, trainable_bytes and
    twice that.  step_bytes: that the optimizer's step makes on a CPU and frees.  moves_early: gradients are used and freed as
    they come, where a step is one micro-batch.
    linear: multiply-adds a token of a forward pass, without the head.  needing_gradient: of those, that the backward pass
    repeats for the gradients of activations.  learning: that it repeats for the gradients of weights.
    """

    layers: int
    heads: int
    head_size: int
    hidden: int
    vocabulary: int
    widest: int
    parameters: int
    trainable: int
    weight_bytes: int
    trainable_bytes: int
    head_learns: bool
    ends_bytes: int = 0
    capped: bool = False
    unpacked_bytes: int = 0
    mapped_bytes: int = 0
    value_bytes: int = 4
    kept: float
    kept_checkpointed: float
    kept_pairs: float = 0.0
    gradient_bytes: int
    optimizer_bytes: int
    step_bytes: int = 0
    moves_early: bool = False
    linear: int
    needing_gradient: int
    learning: int

    @property
    def layer(self) -> float:
        """Bytes a token kept by one layer."""
        return (self.kept - self.kept_checkpointed) / max(1, self.layers)

    @property
    def learning_layer(self) -> float:
        """The same of a layer that gradients reach: where the last layers alone learn, the others keep nothing."""
        return self.layer * max(1.0, self.linear / max(1, self.needing_gradient, self.learning))

    @property
    def head_bytes(self) -> int:
        """The gradient of the head in float32, where it learns: made whole before it is added."""
        return 4 * self.vocabulary * self.hidden if self.head_learns else 0


class _Attention(torch.autograd.Function):
    """Keeps for the backward pass what fused attention keeps; computes nothing."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        out = query.new_empty(query.shape[0], query.shape[2], query.shape[1], value.shape[-1])
        ctx.save_for_backward(query, key, value, out)
        return out


Unfused = Callable[..., Tensor]
"""(query, key, value, scaling, dropout, window, softcap, sinks) -> output: attention that no fused kernel can do."""


@dataclass(slots=True)
class _Spelled:
    """How attention is done that is not fused.  longest: tokens of the longest sample.  used: whether a layer needed it."""

    unfused: Unfused | None
    longest: int
    used: bool = False


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None = None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    forecast: _Spelled | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    banded = sliding_window is not None and forecast is not None and forecast.longest > sliding_window
    if forecast is None or forecast.unfused is None or not (banded or softcap is not None or s_aux is not None):
        return _Attention.apply(query, key, value), None
    forecast.used = True
    out = forecast.unfused(query, key, value, scaling, dropout, sliding_window, softcap, s_aux)
    return out.transpose(1, 2), None


AttentionInterface.register(ATTENTION, _attention)


def measure(net: nn.Module, tokens: int = PROBE_TOKENS, *, longest: int = 0, unfused: Unfused | None = None) -> Footprint:
    """The footprint of a net on the meta device. Where its forward pass needs real numbers (mixture of experts), what it keeps
    is taken from a rule of thumb instead.

    longest: tokens of the longest sample.  unfused: how attention is computed where no kernel can.
    """
    base = net.get_base_model() if hasattr(net, "get_base_model") else net
    text = base.config.get_text_config()
    spelled = _Spelled(unfused, longest)
    try:
        kept, through = _kept(net, base, tokens, spelled)
        kept, pairs = _told_apart(kept, _kept(net, base, 2 * tokens, spelled)[0], tokens) if spelled.used else (kept, 0.0)
        with quiet_transformers():
            base.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
            checkpointed, _ = _kept(net, base, tokens, spelled)
            base.gradient_checkpointing_disable()
    except (RuntimeError, NotImplementedError, TypeError):
        kept, checkpointed, through, pairs = *_rule_of_thumb(base), set(base.parameters()), 0.0
    head = base.get_output_embeddings()
    parameters = list(net.parameters())
    learning = [parameter for parameter in parameters if parameter.requires_grad]
    trainable_bytes = _bytes(learning)
    return Footprint(
        layers=text.num_hidden_layers,
        heads=text.num_hidden_layers * text.num_attention_heads,
        head_size=getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads,
        hidden=text.hidden_size,
        vocabulary=text.vocab_size,
        widest=max(max(weight.shape[-2:]) for weight in _matrices(base).values()),
        parameters=sum(p.numel() for p in parameters),
        trainable=sum(p.numel() for p in learning),
        weight_bytes=_bytes(parameters),
        trainable_bytes=trainable_bytes,
        head_learns=head is not None and any(p.requires_grad for p in head.parameters()),
        ends_bytes=_bytes({*base.get_input_embeddings().parameters(), *(head.parameters() if head is not None else ())}),
        capped=getattr(text, "final_logit_softcapping", None) is not None,
        value_bytes=base.dtype.itemsize,
        kept=kept,
        kept_checkpointed=checkpointed,
        kept_pairs=pairs,
        gradient_bytes=trainable_bytes,
        optimizer_bytes=2 * trainable_bytes,
        linear=_work(base, lambda _: True),
        needing_gradient=_work(base, through.__contains__),
        learning=_work(base, lambda parameter: parameter.requires_grad),
    )


def _bytes(parameters: Iterable[nn.Parameter]) -> int:
    return sum(parameter.numel() * parameter.element_size() for parameter in parameters)


def _told_apart(once: float, twice: float, tokens: int) -> tuple[float, float]:
    """Bytes a token kept by passes of n and 2 n tokens -> (bytes a token a, bytes a pair b): once = a + b n, twice = a + 2 b n.

    >>> _told_apart(10.0 + 64, 10.0 + 128, 64)
    (10.0, 1.0)
    """
    return 2 * once - twice, (twice - once) / tokens


def _kept(net: nn.Module, base: PreTrainedModel, tokens: int, spelled: _Spelled) -> tuple[float, set[nn.Parameter]]:
    """Bytes a token that autograd keeps in a forward pass, and the matrices through which gradients flow."""
    storages: dict[int, Tensor] = {}
    through: set[nn.Parameter] = set()
    own = {parameter.untyped_storage()._cdata: parameter for parameter in net.parameters()}

    def keep(tensor: Tensor) -> Tensor:
        key = tensor.untyped_storage()._cdata
        if key in own:
            through.add(own[key])
        else:
            storages[key] = tensor
        return tensor

    net.train()
    ids = torch.zeros(1, tokens, dtype=torch.long, device="meta")
    mask = torch.zeros(1, 1, tokens, tokens, dtype=torch.bool, device="meta")  # given, so that none is made from values
    with _counted_attention(base), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        base.get_decoder()(input_ids=ids, attention_mask=mask, use_cache=False, forecast=spelled)
    return sum(tensor.untyped_storage().nbytes() for tensor in storages.values()) / tokens, through


def _rule_of_thumb(base: PreTrainedModel) -> tuple[float, float]:
    """Bytes a token kept without and with gradient checkpointing: what a Qwen3 layer was counted to keep, scaled to this one.

    Eight vectors of the hidden size and four of the (visited experts') intermediate size a layer; with checkpointing one.
    """
    text = base.config.get_text_config()
    wide = getattr(text, "moe_intermediate_size", None) or getattr(text, "intermediate_size", None) or 4 * text.hidden_size
    visited = getattr(text, "num_experts_per_tok", None) or 1
    layer = 8 * text.hidden_size + 4 * wide * visited
    return base.dtype.itemsize * text.num_hidden_layers * layer, base.dtype.itemsize * text.num_hidden_layers * text.hidden_size


@contextmanager
def _counted_attention(base: PreTrainedModel) -> Iterator[None]:
    before = base.config._attn_implementation
    base.set_attn_implementation(ATTENTION)
    try:
        yield
    finally:
        base.set_attn_implementation(before)


def _matrices(base: PreTrainedModel) -> dict[str, nn.Parameter]:
    """Weights that every token is multiplied with: all of two or more dimensions but embeddings and the head."""
    tables = [module.weight for module in base.modules() if isinstance(module, nn.Embedding)]
    head = base.get_output_embeddings()
    outside = {id(weight) for weight in [*tables, *(head.parameters() if head is not None else ())]}
    return {name: p for name, p in base.named_parameters() if p.ndim >= 2 and id(p) not in outside}


def _work(base: PreTrainedModel, counts: Callable[[nn.Parameter], bool]) -> int:
    """Multiply-adds a token; of experts only those that a token visits."""
    text = base.config.get_text_config()
    experts = (
        getattr(text, "num_experts", None)
        or getattr(text, "num_local_experts", None)
        or getattr(text, "n_routed_experts", None)
    )
    visited = (getattr(text, "num_experts_per_tok", None) or 1) / experts if experts else 1.0
    total = 0.0
    for name, parameter in _matrices(base).items():
        if counts(parameter):
            total += parameter.numel() * (visited if ".experts." in name else 1.0)
    return int(total)
