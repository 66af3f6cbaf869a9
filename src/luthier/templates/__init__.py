"""Chat templates: the tokenizer's own (auto), or a named family.

In: the configuration and a tokenizer. Out: a Template. Never changes the tokenizer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from luthier.templates.base import Template, Turn

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

__all__ = ["Template", "Turn", "find_template"]


def find_template(config: Any, tokenizer: PreTrainedTokenizerFast) -> Template:
    """The template that config.template names; None or "auto" is the tokenizer's own chat template.

    Reads template, default_system, tool_format, enable_thinking, preserve_thinking, mask_history and stage.
    Raises TemplateError for a name that does not exist and for a chat template that cannot be used.
    """
    from luthier.templates.choose import choose_template

    return choose_template(config, tokenizer)
