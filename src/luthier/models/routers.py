"""Whether a model has routers, and a loss that keeps its experts evenly used, as transformers defines it for its family."""

from __future__ import annotations

import inspect
import sys
from typing import TYPE_CHECKING

from luthier.errors import ModelError

if TYPE_CHECKING:
    from transformers import PretrainedConfig

ARGUMENTS = ["gate_logits", "num_experts", "top_k", "attention_mask"]
"""What the balance of Switch Transformer is computed from; a family whose function asks for more has another loss."""


def require_routers(model_config: PretrainedConfig) -> None:
    """ModelError where the model is no mixture of experts, or one for which transformers has no such loss."""
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING

    family = MODEL_FOR_CAUSAL_LM_MAPPING.get(type(model_config), None)
    function = getattr(sys.modules[family.__module__], "load_balancing_loss_func", None) if family else None
    if function and list(inspect.signature(function).parameters) == ARGUMENTS:
        return
    experts = any("expert" in key for key in model_config.to_dict())
    missing = "transformers knows no such loss for this family" if experts else "this model has no experts"
    raise ModelError(
        f'moe_aux_loss_coef balances the experts of a mixture, and {missing} ("{model_config.model_type}").',
        "Take moe_aux_loss_coef out.",
    )
