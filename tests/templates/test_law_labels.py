"""Law 1 for the tokenizer's own template: ids equal apply_chat_template, labels are the assistant's words and end-of-turn.

The oracle for ids is transformers itself. The oracle for labels knows five vendors' formats by hand: it finds the stretches
between the generation header and the end-of-turn in the rendered text with a regular expression, and counts tokens by offsets.
"""

import re
import unicodedata
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from luthier.templates import find_template
from tests.templates.cases import (
    NAMES,
    PARALLEL,
    PLAIN,
    THINKING,
    TOOLS,
    config,
    flat,
    hf,
    hf_tools,
    learned,
    say,
    talk,
    tokenizer_of,
)

# Between the generation prompt and the end of the turn, by hand. What a thinking template puts first belongs to the answer
# unless the generation prompt holds it (minimind asks with an empty block).
SPANS = {
    "qwen2.5": r"<\|im_start\|>assistant\n?(.*?<\|im_end\|>)",
    "qwen3": r"<\|im_start\|>assistant\n(.*?<\|im_end\|>)",
    "minimind": r"<\|im_start\|>assistant\n(?:<think>\n\n</think>\n\n)?(.*?<\|im_end\|>)",
    "llama3.1": r"<\|start_header_id\|>assistant<\|end_header_id\|>\n\n(.*?<\|eot_id\|>)",
    "deepseek-llm": r"Assistant:(.*?<｜end▁of▁sentence｜>)",
}


def cases(name):
    yield from PLAIN.items()
    if name == "deepseek-llm":
        return
    yield from ((k, v) for k, v in TOOLS.items())
    if name != "llama3.1":  # its template refuses two calls at once
        yield from PARALLEL.items()
    if name in ("qwen3", "minimind"):
        yield from THINKING.items()


@pytest.mark.parametrize("name", NAMES)
def test_ids_are_the_vendors_rendering(assets, name):
    tokenizer = tokenizer_of(assets, name)
    template = find_template(config(), tokenizer)
    for case, conversation in cases(name):
        expected = tokenizer.apply_chat_template(
            hf(conversation), tools=hf_tools(conversation), tokenize=True, return_dict=False
        )
        assert flat(template.encode(conversation)) == expected, case


@pytest.mark.parametrize("name", NAMES)
def test_labels_are_the_words_and_the_end_of_turn(assets, name):
    tokenizer = tokenizer_of(assets, name)
    template = find_template(config(), tokenizer)
    for case, conversation in cases(name):
        text = tokenizer.apply_chat_template(hf(conversation), tools=hf_tools(conversation), tokenize=False)
        encoding = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        spans = [match.span(1) for match in re.finditer(SPANS[name], text, re.DOTALL)]
        wanted = [any(a < e and b > s for s, e in spans) for a, b in encoding["offset_mapping"]]
        got = []
        for turn in template.encode(conversation):
            got += [False] * len(turn.prompt) + [True] * len(turn.answer) + [False] * len(turn.tail)
        assert got == wanted, (case, learned(template.encode(conversation), tokenizer))


@pytest.mark.parametrize("name", NAMES)
def test_prompt_ids_are_the_vendors_generation_prompt(assets, name):
    tokenizer = tokenizer_of(assets, name)
    template = find_template(config(), tokenizer)
    for case, conversation in cases(name):
        for cut in [i for i, message in enumerate(conversation.messages) if message.role == "assistant"]:
            asking = replace(conversation, messages=conversation.messages[:cut])
            expected = tokenizer.apply_chat_template(
                hf(asking), tools=hf_tools(asking), tokenize=True, add_generation_prompt=True, return_dict=False
            )
            assert template.encode_prompt(asking) == expected, case
            (*_, waiting) = template.encode(asking)
            assert waiting.answer == () and flat(template.encode(asking)) == expected, case


@pytest.mark.parametrize("mode", [True, False])
@pytest.mark.parametrize("name, variable", [("qwen3", "enable_thinking"), ("minimind", "open_thinking")])
def test_thinking_mode_is_the_vendors(assets, name, variable, mode):
    tokenizer = tokenizer_of(assets, name)
    template = find_template(config(enable_thinking=mode), tokenizer)
    asking = talk(say("user", "Hi"))
    expected = tokenizer.apply_chat_template(
        hf(asking), tokenize=True, add_generation_prompt=True, return_dict=False, **{variable: mode}
    )
    assert template.encode_prompt(asking) == expected
    answered = talk(say("user", "Hi"), say("assistant", "Hello"))
    (turn,) = template.encode(answered)
    assert list(turn.prompt) == expected, "a model must be trained from exactly what it is given later"
    reasoned = talk(say("user", "Hi"), say("assistant", "Hello", thinking="hm"))
    text = tokenizer.decode(template.encode(reasoned)[0].answer)
    assert ("hm" in text) == mode and "Hello" in text


@pytest.mark.parametrize("name", NAMES)
def test_batch_and_single_agree(assets, name):
    template = find_template(config(), tokenizer_of(assets, name))
    conversations = [conversation for _, conversation in cases(name)]
    assert template.encode_batch(conversations) == [template.encode(conversation) for conversation in conversations]


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=40), min_size=2, max_size=4))
def test_any_text_has_the_vendors_ids(assets, name, texts):
    """Random text of any script and white space; nothing of it may be dropped, moved or learned wrongly."""
    tokenizer = tokenizer_of(assets, name)
    assume(not any(word in text for word in tokenizer.get_added_vocab() if len(word) > 1 for text in texts))
    template = find_template_once(tokenizer)
    messages = [say(("user", "assistant")[k % 2], text) for k, text in enumerate(texts[: len(texts) // 2 * 2])]
    conversation = talk(*messages)
    expected = tokenizer.apply_chat_template(hf(conversation), tokenize=True, return_dict=False)
    turns = template.encode(conversation)
    assert flat(turns) == expected
    for turn, message in zip(turns, messages[1::2], strict=True):
        assert message.content.strip()[:20].strip() in tokenizer.decode(turn.answer) or has_broken_characters(message.content)


def has_broken_characters(text: str) -> bool:
    """Text that tokenizers normalise (NFC) or cannot give back (deepseek-llm takes some letters for single bytes)."""
    return unicodedata.normalize("NFC", text) != text or bool(set(text) & set("\ufffdøöúÿõ÷ûýÀùÁþü"))


_TEMPLATES: dict[int, object] = {}


def find_template_once(tokenizer):
    if id(tokenizer) not in _TEMPLATES:
        _TEMPLATES[id(tokenizer)] = find_template(config(), tokenizer)
    return _TEMPLATES[id(tokenizer)]
