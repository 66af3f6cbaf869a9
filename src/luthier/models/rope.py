"""Longer contexts: rope_scaling and the length that is asked for -> the rope settings of a model's configuration."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING

from luthier.errors import ConfigError

if TYPE_CHECKING:
    from transformers import PretrainedConfig

    from luthier.config import Config

log = logging.getLogger(__name__)


def scale_rope(config: Config, model_config: PretrainedConfig) -> None:
    """Set rope_scaling (linear, dynamic, yarn, llama3) in model_config, in place; nothing where it is unset.

    The factor is what brings the model's context to cutoff_len, at least 2. A training within the context stays as it is.
    Names and meanings are transformers'; linear: Chen et al. 2023, arXiv:2306.15595; yarn: Peng et al. 2023,
    arXiv:2309.00071; dynamic stretches by itself where a text is longer than the first context.  Raises ConfigError for other
    kinds of positions.
    """
    kind = config.rope_scaling
    if kind is None:
        return
    text = model_config.get_text_config()
    known = getattr(text, "max_position_embeddings", None)
    rope = getattr(text, "rope_parameters", None)
    if not known or not isinstance(rope, dict) or "rope_theta" not in rope:
        raise ConfigError(f"rope_scaling: {kind}: this model has no rotary embedding that could be stretched.", "Take it out.")
    if config.do_train and config.cutoff_len <= known:
        log.warning("rope_scaling does nothing: cutoff_len %d is within the model's context of %d.", config.cutoff_len, known)
        return
    factor = float(max(2, math.ceil(config.cutoff_len / known)))
    settings = {"rope_theta": rope["rope_theta"], "rope_type": kind, "factor": factor}
    if kind in ("yarn", "llama3"):
        settings["original_max_position_embeddings"] = known
    if kind == "llama3":
        settings |= {"low_freq_factor": 1.0, "high_freq_factor": 4.0}
    text.rope_parameters = {**{k: v for k, v in rope.items() if k == "partial_rotary_factor"}, **settings}
    if kind != "dynamic":
        text.max_position_embeddings = int(known * factor)
    log.info("rope_scaling: %s, factor %g, on a context of %d tokens", kind, factor, known)
