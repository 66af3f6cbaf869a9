"""A config -> what suits its model and data: the model's shape on the meta device, the samples tokenised (training reads them
from the same cache), then planner/advice.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

from luthier.errors import TemplateError
from luthier.models.load import load_config_of_model
from luthier.models.tokenizer import load_tokenizer
from luthier.planner.advice import Advice, Facts, advise, mistakes
from luthier.stages import STAGES
from luthier.templates import find_template
from luthier.types import Conversation, Message
from luthier.workflows.encode import encode_dataset
from luthier.workflows.footprints import footprint_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from luthier.config import Config
    from luthier.templates.base import Template


def advice_for(config: Config) -> tuple[list[Advice], list[str]]:
    """(advice, mistakes). Raises LuthierError for a model or data that cannot be read."""
    facts = gather(config)
    return advise(config, facts), mistakes(config, facts)


def gather(config: Config) -> Facts:
    """What is known of model and data; no weights are loaded."""
    import torch

    tokenizer = load_tokenizer(config)
    template = find_template(config, tokenizer)
    store = encode_dataset(config, None, STAGES[config.stage](config), template, tokenizer)
    shape = load_config_of_model(config)
    one = config.model_copy(update={"finetuning_type": "lora", "lora_rank": 1, "additional_target": None})
    footprint = footprint_of(one, shape, torch.float32)
    return Facts(
        parameters=footprint.parameters - footprint.trainable,
        weights_a_rank=footprint.trainable,
        rows=len(store),
        tokens=int(store.supervised.sum()),
        cut=int(store.report.get("cut_samples", 0)),
        own_template=bool(tokenizer.chat_template),
        fits_template=_fits(config, tokenizer, template),
    )


def _fits(config: Config, tokenizer: PreTrainedTokenizerBase, template: Template) -> bool | None:
    """Whether a template that was asked for by name writes a small conversation as the tokenizer's own does."""
    if not tokenizer.chat_template or config.template in (None, "auto"):
        return None
    talk = Conversation(messages=(Message(role="user", content="7"), Message(role="assistant", content="x")))
    own = find_template(config.model_copy(update={"template": "auto"}), tokenizer)
    try:
        return [(turn.prompt, turn.answer) for turn in own.encode(talk)] == [
            (turn.prompt, turn.answer) for turn in template.encode(talk)
        ]
    except TemplateError:
        return None
