"""The chat template that a named template writes: transformers renders what the template itself writes for generation."""

from dataclasses import replace

import pytest

from luthier.templates import find_template
from luthier.templates.family import family_names, load_family
from luthier.templates.named import NamedTemplate
from luthier.templates.thinking import ThinkingMode
from tests.templates.cases import PARALLEL, PLAIN, THINKING, TOOLS, config, flat, hf, hf_tools, tokenizer_of

CASES = PLAIN | TOOLS | PARALLEL | THINKING


FAST = ("qwen3", "deepseekr1", "gpt_oss", "glm4_moe")  # of the families that reason, these in every mode
MODES = [
    pytest.param(name, mode, preserve, marks=[] if name in FAST or (mode and not preserve) else pytest.mark.slow)
    for name in family_names()
    for mode in (True, False, None)
    for preserve in (False, True)
    if load_family(name).thinking or (mode is True and not preserve)
]


@pytest.mark.parametrize("name, mode, preserve", MODES)
def test_same_text(assets, name, mode, preserve):
    tokenizer = tokenizer_of(assets, "minimind")
    thinking = ThinkingMode(enabled=mode, preserve=preserve)
    template = NamedTemplate(load_family(name), tokenizer, thinking=thinking, history="kept" if preserve else "dropped")
    source = template.jinja()
    for case, conversation in CASES.items():
        if case == "parallel" and template.describe()["tool_format"] == "glm4":
            continue

        def rendered(asking, conversation=conversation):
            return tokenizer.apply_chat_template(
                hf(conversation),
                tools=hf_tools(conversation),
                tokenize=False,
                add_generation_prompt=asking,
                chat_template=source,
            )

        assert rendered(False) == template.render(conversation), case
        conversation = replace(conversation, messages=conversation.messages[:-1])
        assert rendered(True, conversation) == template.render(conversation, add_generation_prompt=True), case


@pytest.mark.parametrize(
    "name, vendor", [("qwen3", "qwen3"), ("chatml", "qwen2.5"), ("llama3", "llama3.1"), ("minimind", "minimind")]
)
def test_same_ids(assets, name, vendor):
    """ids too, where no white space of a message meets the template's."""
    tokenizer = tokenizer_of(assets, vendor)
    template = find_template(config(name, mask_history=True), tokenizer)
    for case in ("single", "system", "system multi", "long", "called", "thinking multi"):
        conversation = CASES[case]
        expected = tokenizer.apply_chat_template(
            hf(conversation), tools=hf_tools(conversation), tokenize=True, return_dict=False, chat_template=template.jinja()
        )
        assert flat(template.encode(conversation)) == expected, case


def test_thinking_can_be_switched_when_rendering(assets):
    tokenizer = tokenizer_of(assets, "qwen3")
    source = find_template(config("qwen3", enable_thinking=True), tokenizer).jinja()

    def ask(**keys):
        return tokenizer.apply_chat_template(
            [{"role": "user", "content": "x"}], tokenize=False, add_generation_prompt=True, chat_template=source, **keys
        )

    assert ask().endswith("assistant\n") and ask(enable_thinking=False).endswith("<think>\n\n</think>\n\n")
