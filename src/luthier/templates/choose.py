"""Which template a configuration means.

In: configuration and tokenizer. Out: the template, and one line where the choice may surprise. Never changes either.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from luthier.errors import TemplateError
from luthier.templates.base import Template
from luthier.templates.family import load_family
from luthier.templates.jinja import JinjaTemplate
from luthier.templates.named import History, NamedTemplate
from luthier.templates.thinking import ThinkingMode
from luthier.types import Conversation, Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

log = logging.getLogger("luthier.templates")


def choose_template(config: Any, tokenizer: PreTrainedTokenizerFast) -> Template:
    """See templates.find_template."""
    if not getattr(tokenizer, "is_fast", False):
        raise TemplateError(
            f"{type(tokenizer).__name__} is no fast tokenizer (it has no tokenizer.json), and templates need one.",
            "Convert it once with transformers' AutoTokenizer.from_pretrained(..., use_fast=True).save_pretrained(...).",
        )
    name = getattr(config, "template", None) or "auto"
    if name == "auto" and tokenizer.chat_template:
        return _own(config, tokenizer, ThinkingMode.of(config))
    if name == "auto":
        log.warning('this tokenizer has no chat template: "empty" is used, which writes messages one after another.')
        name = "empty"
    template = _named(config, tokenizer, name)
    if tokenizer.chat_template and name != "empty":
        _compare(template, tokenizer)
    return template


def _own(config: Any, tokenizer: PreTrainedTokenizerFast, thinking: ThinkingMode) -> JinjaTemplate:
    return JinjaTemplate(
        tokenizer,
        default_system=getattr(config, "default_system", None),
        thinking=thinking,
        tool_format=getattr(config, "tool_format", None),
    )


def _named(config: Any, tokenizer: PreTrainedTokenizerFast, name: str) -> NamedTemplate:
    thinking = ThinkingMode(
        enabled=getattr(config, "enable_thinking", True), preserve=bool(getattr(config, "preserve_thinking", False))
    )
    drops = getattr(config, "stage", "sft") != "sft" or getattr(config, "mask_history", False)
    history: History = "full" if not drops else "kept" if thinking.preserve else "dropped"
    return NamedTemplate(
        load_family(name),
        tokenizer,
        default_system=getattr(config, "default_system", None),
        thinking=thinking,
        tool_format=getattr(config, "tool_format", None),
        history=history,
    )


def _compare(template: NamedTemplate, tokenizer: PreTrainedTokenizerFast) -> None:
    """One warning where the named template and the tokenizer's own write a small conversation differently."""
    probe = Conversation(messages=(Message(role="user", content="Hi"), Message(role="assistant", content="Hello!")))
    try:
        own = _ids(JinjaTemplate(tokenizer), probe)
    except TemplateError:
        return  # nothing to compare with: the tokenizer's own template cannot write this
    named = _ids(template, probe)
    at = next((k for k, (a, b) in enumerate(zip(named, own)) if a != b), min(len(named), len(own)))
    if named[:at] == own[:at] and len(named) == len(own) == at:
        return
    texts = [repr(tokenizer.decode(ids[at : at + 1])) if at < len(ids) else "the end" for ids in (named, own)]
    log.warning(
        "template %s and the tokenizer's own chat template differ: token %d is %s here and %s there. "
        "The model was made with its own (template: auto).",
        template.name,
        at + 1,
        *texts,
    )


def _ids(template: Template, conversation: Conversation) -> list[int]:
    return [i for turn in template.encode(conversation) for i in (*turn.prompt, *turn.answer, *turn.tail)]
