"""From (model, batch) to log-probabilities at the supervised positions: the one score that every stage's loss is made of.

Two layouts with equal results: "packed" (all segments in one row, attention inside segments; nothing is padding) and
"padded" (one row a segment, the model's own attention), the plain reference and the way for models that cannot pack.
Which one serves is proved on the model itself when the Scorer is made, not looked up.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.checkpoint import checkpoint

from luthier.errors import ModelError
from luthier.models.attention import ATTENTION, Segments
from luthier.models.divergence import token_divergence, top_entropy
from luthier.models.logps import Head, chunk_rows, token_logps
from luthier.types import Batch

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from luthier.models.reference import LivingReference, Reference


def base_of(model: nn.Module) -> PreTrainedModel:
    """The transformers model inside a PEFT wrapper (its layers carry the adapter), or the model itself."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


class Scorer(nn.Module):
    """model: a causal LM, with or without an adapter.  layout: "auto", "packed" or "padded".

    neftune_alpha: noise on the embeddings while training (Jain et al. 2023, arXiv:2310.05914): uniform in
    [-1, 1] * alpha / sqrt(tokens of the segment * H).  Raises ModelError where no layout scores this model truly.
    """

    reference: Reference | None = None
    """What the stage compares with, where it needs that (models/reference.py)."""

    def __init__(self, model: nn.Module, *, layout: str = "auto", neftune_alpha: float | None = None):
        super().__init__()
        self.model = model
        self._heard: list[Tensor] | None = None
        self.neftune_alpha = neftune_alpha
        self.layout = layout if layout != "auto" else self._proved_layout()

    def forward(self, batch: Batch, smoothing: float = 0.0) -> tuple[Tensor, Tensor]:
        """Log-probability in nats of each supervised token (N,) float32, and whether it was the likeliest (N,) bool."""
        return self.logps(self.hidden(batch)[batch.positions], batch.targets, smoothing)

    def logps(self, hidden_NH: Tensor, targets_N: Tensor, smoothing: float = 0.0) -> tuple[Tensor, Tensor]:
        """forward, given the hidden states (N, H) that predict the targets."""
        base = base_of(self.model)
        module = base.get_output_embeddings()
        if type(module) is not nn.Linear:  # an adapter sits on the head
            return _logps_through(module, hidden_NH, targets_N, base.config, smoothing)
        scale, softcap = _head_constants(base.config)
        head = Head(module.weight, module.bias, scale, softcap)
        dtype = torch.get_autocast_dtype(hidden_NH.device.type) if torch.is_autocast_enabled(hidden_NH.device.type) else None
        if dtype is not None:
            head = head._replace(weight=head.weight.to(dtype), bias=None if head.bias is None else head.bias.to(dtype))
            hidden_NH = hidden_NH.to(dtype)
        with torch.autocast(hidden_NH.device.type, enabled=False):
            return token_logps(hidden_NH.to(head.weight.dtype), head, targets_N, smoothing)

    def logits(self, hidden_nH: Tensor) -> Tensor:
        """The model's logits (n, V) float32, for a few rows at a time (logps.chunk_rows)."""
        base = base_of(self.model)
        return _logits_of(base.get_output_embeddings(), hidden_nH, *_head_constants(base.config))

    def top_entropy(self, states_NH: Tensor, top: int) -> Tensor:
        """Entropy in nats of the `top` likeliest next tokens, (N,), without gradient (models/divergence.py)."""
        return top_entropy(self.logits, states_NH, self.vocabulary, top)

    def divergence(
        self, states_NH: Tensor, teacher: LivingReference, batch: Batch, *, beta: float = 0.0, temperature: float = 1.0
    ) -> Tensor:
        """token_divergence (models/divergence.py) of this model, whose states are given, from teacher, (N,)."""
        theirs_NH = teacher.hidden(batch)
        return token_divergence(
            self.logits, states_NH, teacher.logits, theirs_NH, self.vocabulary, beta=beta, temperature=temperature
        )

    @property
    def vocabulary(self) -> int:
        return base_of(self.model).config.get_text_config().vocab_size

    def hidden(self, batch: Batch, *, first_is_prefix: bool = False) -> Tensor:
        """Last hidden states of every token, after the final norm, (T, H).

        first_is_prefix: every other segment goes on from the first one and sees it; the packed layout alone can do that.
        """
        base = base_of(self.model)
        inputs = {"input_ids": batch.input_ids}
        if self.neftune_alpha and self.training:
            inputs = {"inputs_embeds": self._noisy_embeddings(batch)}
        more = {} if self._heard is None or self._heard else {"output_router_logits": True}
        if self.layout == "packed":
            base.set_attn_implementation(ATTENTION)
            more |= {"first_is_prefix": True} if first_is_prefix else {}
            output = base.get_decoder()(
                **inputs, position_ids=batch.position_ids, segments=Segments(batch.segment_lengths), use_cache=False, **more
            )
            if "output_router_logits" in more:
                self._heard.extend(output.router_logits)
            return output.last_hidden_state[0]
        name, row = next(iter(inputs.items()))
        lengths = batch.segment_lengths
        rows = pad_sequence(row[0].split(lengths), batch_first=True)
        mask = pad_sequence([torch.ones(n, dtype=torch.long, device=row.device) for n in lengths], batch_first=True)
        output = base.get_decoder()(**{name: rows}, attention_mask=mask, use_cache=False, **more)
        if "output_router_logits" in more:
            self._heard.extend(layer[mask.flatten().bool()] for layer in output.router_logits)
        return output.last_hidden_state[mask.bool()]

    @contextmanager
    def listening(self) -> Iterator[list[Tensor]]:
        """Inside, the first pass of hidden adds to the list what each router says of each token, (T, E) before its softmax."""
        self._heard = heard = []
        try:
            yield heard
        finally:
            self._heard = None

    @property
    def experts_per_token(self) -> int:
        return base_of(self.model).num_experts_per_tok

    def head(self, hidden: Tensor) -> Tensor:
        """What the model's value head (models/heads.py) makes of hidden states (..., H): (...,) float32."""
        return self.model.v_head(hidden)

    def _noisy_embeddings(self, batch: Batch) -> Tensor:
        embeds = base_of(self.model).get_input_embeddings()(batch.input_ids)
        lengths = torch.tensor(batch.segment_lengths, device=embeds.device)
        per_token = (lengths * embeds.shape[-1]).rsqrt().repeat_interleave(lengths)
        noise = torch.empty_like(embeds).uniform_(-1, 1)
        return embeds + self.neftune_alpha * per_token[None, :, None].to(embeds.dtype) * noise

    @torch.no_grad()
    def _proved_layout(self) -> str:
        """Two short segments, packed and each alone, and the model's own logits: the layout whose numbers agree."""
        base = base_of(self.model)
        device = base.get_input_embeddings().weight.device
        if device.type == "meta":
            return "packed"
        was_training = self.model.training
        own_attention = base.config._attn_implementation
        self.eval()
        try:
            generator = torch.Generator().manual_seed(0)
            probe = [
                torch.randint(base.config.get_text_config().vocab_size, (n,), generator=generator).to(device) for n in (7, 5)
            ]
            logits = torch.cat([base(input_ids=ids[None], use_cache=False).logits[0] for ids in probe]).float()
            alone = logits.log_softmax(-1)
            for layout in ("packed", "padded"):
                if layout == "packed" and not base._supports_attention_backend:
                    continue
                self.layout = layout
                if layout == "padded":
                    base.set_attn_implementation(own_attention)
                if self._agrees(probe, alone):
                    return layout
        finally:
            self.train(was_training)
            if getattr(self, "layout", None) != "packed":
                base.set_attn_implementation(own_attention)
        raise ModelError(
            f"{type(base).__name__}: the log-probabilities that Luthier computes differ from the model's own logits.",
            "This architecture post-processes its logits in a way that is not known here.",
        )

    def _agrees(self, probe: list[Tensor], alone: Tensor) -> bool:
        device = alone.device
        lengths = tuple(len(ids) for ids in probe)
        count = sum(lengths)
        batch = Batch(
            input_ids=torch.cat(probe)[None],
            position_ids=torch.cat([torch.arange(n) for n in lengths])[None].to(device),
            segment_lengths=lengths,
            positions=torch.arange(count, device=device),
            targets=alone.argmax(-1),
            segment_ids=torch.zeros(count, dtype=torch.long, device=device),
            values=torch.zeros(len(lengths), device=device),
        )
        logps, _ = self(batch)
        base = base_of(self.model)
        precise = next(base.parameters()).dtype == torch.float32 and not getattr(base, "is_quantized", False)
        expected = alone.amax(-1)
        return bool(((logps - expected).abs() <= (1e-3 if precise else 0.1) * (1 + expected.abs())).all())


def _head_constants(config: object) -> tuple[float, float | None]:
    """(scale, softcap) that the model applies to its logits: Cohere multiplies, Granite divides, Gemma 2 caps."""
    text = config.get_text_config()
    scale = getattr(text, "logit_scale", None) or 1.0
    scale /= getattr(text, "logits_scaling", None) or 1.0
    return scale, getattr(text, "final_logit_softcapping", None)


def _logits_of(module: nn.Module, hidden: Tensor, scale: float, softcap: float | None) -> Tensor:
    logits = module(hidden).float() * scale
    return logits if softcap is None else softcap * torch.tanh(logits / softcap)


def _logps_through(
    module: nn.Module, hidden_NH: Tensor, targets_N: Tensor, config: object, smoothing: float
) -> tuple[Tensor, Tensor]:
    """token_logps for a head that is not a plain linear layer: chunk by chunk, computed again in the backward pass."""
    scale, softcap = _head_constants(config)

    def piece(hidden: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        logits = _logits_of(module, hidden, scale, softcap)
        logps_NV = logits.log_softmax(-1)
        logps = logps_NV.gather(1, targets[:, None])[:, 0]
        return (1 - smoothing) * logps + smoothing * logps_NV.mean(1), logits.argmax(1) == targets

    rows = chunk_rows(config.get_text_config().vocab_size)
    pieces = [
        checkpoint(piece, hidden, targets, use_reentrant=False)
        for hidden, targets in zip(hidden_NH.split(rows), targets_N.split(rows))
    ]
    logps, hits = zip(*pieces)
    return torch.cat(logps), torch.cat(hits)
