"""What a stage needs besides the model that learns: a head on top of it, a reference beside it, samples in pairs."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING

from luthier.adapters import ADAPTERS
from luthier.batches.loader import EvaluationLoader
from luthier.batches.mismatched import Mismatched
from luthier.errors import ModelError
from luthier.models.dropout import disable_dropout
from luthier.models.heads import ModelWithHead
from luthier.models.load import load_model
from luthier.models.reference import BaseReference, CachedReference, ModelReference, Reference
from luthier.models.routers import require_routers
from luthier.models.score import Scorer
from luthier.stages.balanced import BALANCED, Balanced
from luthier.workflows.headed import Headed

if TYPE_CHECKING:
    import torch
    from torch import nn
    from transformers import PretrainedConfig

    from luthier.adapters.base import Adapter
    from luthier.batches.views import Tokens
    from luthier.config import Config
    from luthier.runtime.precision import Precision
    from luthier.stages.base import Stage

logger = logging.getLogger(__name__)

WITH_BASE = ("lora", "oft")
"""Fine-tuning methods under which the base model stays as it was."""


def balanced(config: Config, stage: Stage, model_config: PretrainedConfig) -> Stage:
    """stage, with the balance of experts in its loss where moe_aux_loss_coef asks for it. ModelError where there are none."""
    if not config.moe_aux_loss_coef or stage.name not in BALANCED:
        return stage
    require_routers(model_config)
    return Balanced(stage, config.moe_aux_loss_coef)


def make_adapter(config: Config, stage: Stage) -> Adapter:
    """The fine-tuning method of config, with a head on top where the stage needs one."""
    adapter = ADAPTERS[config.finetuning_type](config)
    return Headed(adapter, config) if stage.needs_head else adapter


def as_learned(config: Config, store: Tokens) -> Tokens:
    """Pre-training lays documents end to end and cuts every cutoff_len tokens; KTO sets a mismatched answer beside each sample;
    other samples stay as they are."""
    if config.stage == "kto":
        return Mismatched(store)
    wraps = config.stage == "pt" and config.packing is not False and not config.neat_packing
    return store.wrapped(config.cutoff_len) if wraps else store


def set_reference(
    config: Config,
    stage: Stage,
    scorer: Scorer,
    adapter: Adapter,
    net: nn.Module,
    *,
    device: torch.device,
    precision: Precision,
) -> int:
    """Give scorer its reference, and switch net's dropout off, where the stage compares. Returns the bytes of a second model.

    ref_model is loaded where it is named; else the base under the adapter serves, and under full tuning a second copy.
    """
    if not stage.needs_reference:
        return 0
    if largest := disable_dropout(net):
        logger.warning("dropout (%g) is off: this stage compares the model with its reference token by token.", largest)
    if config.stage == "kd":
        teacher = load_other(
            config, config.teacher_model, config.teacher_model_adapters, None, device=device, dtype=precision.param_dtype
        )
        return _second(scorer, teacher)
    adapted = net.model if isinstance(net, ModelWithHead) else net
    if config.ref_model is None and config.finetuning_type in WITH_BASE and hasattr(adapted, "peft_config"):
        if config.adapter_name_or_path and not config.create_new_adapter:
            logger.warning(
                "the reference is %s without %s. To compare with the adapter as it is now, set create_new_adapter: true.",
                config.model_name_or_path,
                config.adapter_name_or_path[-1],
            )
        scorer.reference = BaseReference(scorer, lambda: adapter.disabled(net))
        return 0
    if config.ref_model is None:
        return _second(scorer, load_other(config, None, None, None, device=device, dtype=precision.param_dtype))
    other = config.ref_model_adapters, config.ref_model_quantization_bit
    return _second(scorer, load_other(config, config.ref_model, *other, device=device, dtype=precision.param_dtype))


def _second(scorer: Scorer, model: nn.Module) -> int:
    """Let model be scorer's reference; its bytes. ModelError where it speaks of other tokens."""
    second = Scorer(model)
    if second.vocabulary != scorer.vocabulary:
        raise ModelError(
            f"the second model has a vocabulary of {second.vocabulary:,}, the one that learns {scorer.vocabulary:,}.",
            "Name a model of the same family, with the same tokenizer.",
        )
    scorer.reference = ModelReference(second)
    return sum(p.numel() * p.element_size() for p in model.parameters())


def load_other(
    config: Config,
    name: str | None,
    adapters: list[str] | None,
    quantization_bit: int | None,
    *,
    device: torch.device,
    dtype: torch.dtype,
) -> nn.Module:
    """The named model with its adapters, to be asked and never trained; name None: the model that the training starts from."""
    other = config.model_copy(
        update={
            "model_name_or_path": name or config.model_name_or_path,
            "adapter_name_or_path": adapters,
            "quantization_bit": quantization_bit,
            "train_from_scratch": config.train_from_scratch and name is None,
        }
    )
    model = load_model(other, device=device, dtype=dtype)
    return ADAPTERS["lora"](other).attach(model, trainable=False) if adapters else model


def cache_reference(
    source: Reference, stores: Iterable[Tokens], *, max_tokens: int, device: torch.device, precision: Precision
) -> CachedReference:
    """The reference's log-probabilities of every sample of stores, asked once."""

    def batches():
        for store in stores:
            loader = EvaluationLoader(store)
            for group in loader.groups(max_tokens):
                yield loader.batch(group, device)

    with precision.context():
        return CachedReference(source, batches())
