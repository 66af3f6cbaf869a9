"""Chat templates of many makes, written here after the ways vendors write theirs, each with its trap.

Ids are checked against transformers; the learned text is written out by hand for each.
"""

import logging

import pytest
from transformers import PreTrainedTokenizerFast

from luthier.errors import TemplateError
from luthier.templates import find_template
from luthier.types import Conversation, Origin, ToolCall
from tests.templates.cases import config, flat, hf, hf_tools, learned, say, small_tokenizer, talk, tokenizer_of

TURNS = (say("user", "Hi"), say("assistant", " Hello "), say("user", "More"), say("assistant", "Yes"))

# The answer's words are stripped, the model's role has another name, a system message is refused.
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    "{% for message in messages %}{% set role = 'model' if message['role'] == 'assistant' else message['role'] %}"
    "{{ '<|im_start|>' + role + '\n' + message['content'] | trim + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>model\n' }}{% endif %}"
)
# No generation prompt; bos opens each pair of turns; a space stands before eos.
LLAMA2 = (
    "{% for message in messages %}{% if message['role'] == 'user' %}{{ '<s>[INST] ' + message['content'] + ' [/INST]' }}"
    "{% else %}{{ ' ' + message['content'] + ' ' + eos_token }}{% endif %}{% endfor %}"
)
# Nothing ends a turn but the word that opens the next.
GLM4 = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
# End of text after the last turn, outside of it.
PHI = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% else %}{{ '<|endoftext|>' }}{% endif %}"
)
# History ends with another token than the last turn, and loses its reasoning (gpt-oss); a macro writes the words.
CHANNELS = """
{%- macro words(text) -%}{{ '<|message|>' + text }}{%- endmacro -%}
{%- for message in messages -%}
{%- if message.role == 'assistant' -%}
{%- if loop.last and message.thinking -%}
{{- '<|start|>assistant analysis' + words(message.thinking) + '<|end|>' -}}{%- endif -%}
{{- '<|start|>assistant final' + words(message.content) -}}
{{- ('<|return|>' if loop.last and not add_generation_prompt else '<|end|>') -}}
{%- else -%}{{- '<|start|>' + message.role + words(message.content) + '<|end|>' -}}{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|start|>assistant' -}}{%- endif -%}"""
# The prompt opens a thinking block, which answers lose (DeepSeek-R1); calls want text and no content.
R1 = (
    "{% for message in messages %}{% if message['role'] == 'user' %}{{ '<|user|>' + message['content'] }}{% endif %}"
    "{% if message['role'] == 'tool' %}{{ '<|tool|>' + message['content'] }}{% endif %}"
    "{% if message['role'] == 'assistant' and message['tool_calls'] %}{{ '<|assistant|>' }}"
    "{% for call in message['tool_calls'] %}"
    '{{ \'<tool_call>\n{"name": "\' + call.function.name }}'
    "{{ '\", \"arguments\": ' + call.function.arguments + '}\n</tool_call>' }}"
    "{% endfor %}{{ eos_token }}{% endif %}"
    "{% if message['role'] == 'assistant' and message['content'] is not none %}{% set content = message['content'] %}"
    "{% if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}"
    "{{ '<|assistant|>' + content + eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|><think>\n' }}{% endif %}"
)


@pytest.fixture
def with_template(assets):
    """A copy of minimind's tokenizer that speaks another template; its end of turn is <|im_end|>."""

    def build(source, words=()):
        own = tokenizer_of(assets, "minimind")
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=type(own.backend_tokenizer).from_str(own.backend_tokenizer.to_str()),
            eos_token="<|im_end|>",
            bos_token="<|endoftext|>",
        )
        tokenizer.add_special_tokens({"additional_special_tokens": list(words)})
        tokenizer.chat_template = source
        return tokenizer

    return build


def check(tokenizer, conversation, answers, key="reasoning_content"):
    template = find_template(config(), tokenizer)
    turns = template.encode(conversation)
    assert flat(turns) == tokenizer.apply_chat_template(
        hf(conversation, key), tools=hf_tools(conversation), tokenize=True, return_dict=False
    )
    assert learned(turns, tokenizer) == answers
    return template


def test_words_that_the_template_strips(with_template):
    tokenizer = with_template(GEMMA)
    template = check(tokenizer, talk(*TURNS), ["Hello<|im_end|>", "Yes<|im_end|>"])
    with pytest.raises(TemplateError, match=r"data\.json row 7: .*no system role"):
        origin = Origin(dataset="d", file="data.json", row=7)
        template.encode(Conversation(messages=(say("system", "s"), *TURNS), origin=origin))


def test_a_template_without_a_generation_prompt():
    tokenizer = small_tokenizer("bpe")
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer.backend_tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )
    tokenizer.chat_template = LLAMA2
    template = find_template(config(), tokenizer)
    turns = template.encode(talk(say("user", "ok"), say("assistant", "hello"), say("user", "x"), say("assistant", "ok ok")))
    assert flat(turns) == tokenizer.apply_chat_template(
        [{"role": r, "content": c} for r, c in (("user", "ok"), ("assistant", "hello"), ("user", "x"), ("assistant", "ok ok"))],
        tokenize=True,
        return_dict=False,
    )
    for turn in turns:
        assert turn.prompt[0] == tokenizer.bos_token_id and turn.answer[-1] == tokenizer.eos_token_id
        assert tokenizer.convert_tokens_to_ids("[/INST]") == turn.prompt[-1]


def test_a_turn_that_ends_with_the_opener_of_the_next(with_template):
    tokenizer = with_template(GLM4)
    conversation = talk(*TURNS)
    turns = find_template(config(), tokenizer).encode(conversation)
    rendered = tokenizer.apply_chat_template(hf(conversation), tokenize=True, return_dict=False)
    assert flat(turns) == [*rendered, tokenizer.eos_token_id], "the last turn is closed by eos, or no answer would ever end"
    assert learned(turns, tokenizer) == [" Hello <|im_start|>", "Yes<|im_end|>"]


def test_end_of_text_outside_the_last_turn(with_template):
    tokenizer = with_template(PHI, ["<|user|>", "<|assistant|>"])
    check(tokenizer, talk(*TURNS), [" Hello <|im_end|>", "Yes<|im_end|>"])


def test_history_that_ends_otherwise_and_loses_its_reasoning(with_template):
    tokenizer = with_template(CHANNELS, ["<|start|>", "<|end|>", "<|message|>", "<|return|>"])
    conversation = talk(
        say("user", "a"), say("assistant", "b", thinking="t"), say("user", "c"), say("assistant", "d", thinking="u")
    )
    answers = [" final<|message|>b<|end|>", " analysis<|message|>u<|end|><|start|>assistant final<|message|>d<|return|>"]
    check(tokenizer, conversation, answers, key="thinking")


def test_a_prompt_that_opens_thinking_and_an_answer_that_loses_it(with_template, caplog):
    tokenizer = with_template(R1, ["<|user|>", "<|assistant|>", "<|tool|>"])
    template = find_template(config(), tokenizer)
    with caplog.at_level(logging.WARNING, "luthier"):
        turns = template.encode(talk(say("user", "a"), say("assistant", "<think>\nbecause\n</think>\n\nb")))
    assert learned(turns, tokenizer) == ["\n\nb<|im_end|>"]
    assert "leaves out the reasoning of the last answer" in caplog.text and "asks for an answer with" in caplog.text


@pytest.mark.parametrize("writes_once", [True, False])
def test_calls_that_want_text(with_template, writes_once, caplog):
    """A template that writes an empty answer after the calls is not trusted with them."""
    source = R1.replace("message['content'] is not none", "message['content']") if writes_once else R1
    tokenizer = with_template(source, ["<|user|>", "<|assistant|>", "<|tool|>"])
    call = ToolCall(name="f", arguments={"x": 1})
    conversation = talk(say("user", "a"), say("assistant", tool_calls=(call,)), say("tool", "r"), say("assistant", "b"))
    with caplog.at_level(logging.WARNING, "luthier"):
        turns = find_template(config(), tokenizer).encode(conversation)
    if not writes_once:
        assert learned(turns, tokenizer) == ['Action: f\nAction Input: {"x": 1}<|im_end|>', "b<|im_end|>"]
        assert "writes no tool calls of its own" in caplog.text
        return
    assert learned(turns, tokenizer) == [
        '<tool_call>\n{"name": "f", "arguments": {"x": 1}}\n</tool_call><|im_end|>',
        "b<|im_end|>",
    ]


def test_a_template_that_hides_the_words_is_refused(with_template):
    source = "{% for message in messages %}{{ '<|im_start|>' + message['content'] | upper + '<|im_end|>' }}{% endfor %}"
    tokenizer = with_template(source.replace("upper", "reverse"))
    template = find_template(config(), tokenizer)
    with pytest.raises(TemplateError, match="hides where they are"):
        template.encode(talk(*TURNS))


def test_words_left_out_are_told(with_template, caplog):
    source = GLM4.replace("message['content']", "('' if message['role'] == 'system' else message['content'])")
    tokenizer = with_template(source)
    with caplog.at_level(logging.WARNING, "luthier"):
        find_template(config(), tokenizer).encode(talk(say("system", "Be kind"), *TURNS))
    assert "leaves out the words of messages of the role system" in caplog.text


def test_the_days_date_may_stand_in_a_template(with_template):
    tokenizer = with_template("{{ '<|im_start|>' + strftime_now('%Y') + '\n' }}" + GEMMA)
    check(tokenizer, talk(*TURNS), ["Hello<|im_end|>", "Yes<|im_end|>"])
