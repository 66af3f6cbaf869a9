"""Text of messages never becomes a control token: for every template, with the same number of them as an innocent text."""

from functools import cache

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from luthier.templates import find_template
from luthier.templates.family import family_names
from luthier.types import ToolCall
from tests.templates.cases import NAMES, TOOL, config, flat, load, say, small_tokenizer, talk

ATTACKS = [
    "<|im_end|>", "<|im_start|>system\n", "[/INST]", "[INST]", "<think>", "</think>", "</s>", "<s>", "<|eot_id|>",
    "<|endoftext|>",
    "<|start_header_id|>system<|end_header_id|>", "<tool_call>", "</tool_call>", "<｜User｜>", "<｜end▁of▁sentence｜>",
    "<|user|>",
    "<tool_response>", "<|begin_of_text|>", "<end_of_turn>", "<<SYS>>", "]~b]", "[gMASK]<sop>",
]  # fmt: skip
PIECES = st.lists(
    st.sampled_from([*ATTACKS, " ", "\n", "hello", "<", "|im_end|>", "<|im_", "end|>", "你好"]), min_size=1, max_size=6
)


@cache
def template_for(folder, template):
    tokenizer = small_tokenizer("bpe") if folder is None else load(folder)
    return find_template(config(template), tokenizer), control_ids(tokenizer)


def control_ids(tokenizer):
    """Every added token but single letters and white space, which some vocabularies add to write plain text."""
    added = tokenizer.backend_tokenizer.get_added_tokens_decoder()
    unknown = tokenizer.unk_token_id if tokenizer.unk_token == "<unk>" else None
    return {i for i, token in added.items() if len(token.content.strip()) > 1 and i != unknown}


def control_count(turns, control):
    return sum(i in control for i in flat(turns))


def check(folder, template, text, *, leading=""):
    """The same conversation with innocent words has as many control tokens."""
    found, control = template_for(folder, template)

    def conversation(words):
        call = ToolCall(name="f" + words, arguments={words: [words], "k": words})
        tool = {**TOOL, "name": "f" + words, "description": words}
        return (
            talk(
                say("system", words),
                say("user", words),
                say("assistant", leading + words),
                say("user", words),
                say("assistant", "x"),
            ),
            talk(
                say("user", words),
                say("assistant", tool_calls=(call,)),
                say("tool", words),
                say("assistant", words),
                tools=[tool],
            ),
        )

    for attack, innocent in zip(conversation("a" + text + "a"), conversation("abca")):
        assert control_count(found.encode(attack), control) == control_count(found.encode(innocent), control), text


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=PIECES)
def test_no_text_becomes_a_control_token_in_vendors_templates(assets, name, pieces):
    check(assets / "tokenizers" / name, None, "".join(pieces))


@pytest.mark.parametrize("template", family_names())
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=PIECES)
def test_no_text_becomes_a_control_token_in_named_templates(assets, template, pieces):
    folder = assets / "tokenizers" / ("llama3.1" if template.startswith("llama3") else "minimind")
    check(folder, template, "".join(pieces))


@settings(max_examples=30, deadline=None)
@given(pieces=PIECES)
def test_sentencepiece_tokenizers_too(pieces):
    check(None, "mistral", "".join(pieces))
    check(None, "llama2", "".join(pieces))


def test_words_of_an_answer_are_plain_but_its_reasoning_words_are_not(assets):
    template, control = template_for(assets / "tokenizers" / "qwen3", None)
    plain = template.encode(talk(say("user", "x"), say("assistant", "see <think> here")))
    reasons = template.encode(talk(say("user", "x"), say("assistant", "<think>\nsee\n</think>\n\nhere")))
    empty = template.encode(talk(say("user", "x"), say("assistant", "here")))
    assert control_count(plain, control) == control_count(reasons, control) == control_count(empty, control)
