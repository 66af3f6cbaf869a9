"""find_template: which template a configuration means, and what is said about it."""

import logging

import pytest
from transformers import PreTrainedTokenizerFast

from luthier.errors import TemplateError
from luthier.templates import find_template
from tests.templates.cases import PLAIN, config, flat, say, talk, tokenizer_of


def test_unset_and_auto_are_the_tokenizers_own(assets):
    tokenizer = tokenizer_of(assets, "qwen3")
    for name in (None, "auto"):
        assert find_template(config(name), tokenizer).name == "auto"


def test_without_a_chat_template_messages_stand_alone(assets, caplog):
    tokenizer = tokenizer_of(assets, "stories260K")
    template = find_template(config(), tokenizer)
    assert template.name == "empty" and caplog.text.count("no chat template") == 1
    (turn,) = template.encode(talk(say("user", "Once"), say("assistant", "upon")))
    assert tokenizer.decode(turn.answer) == "upon</s>"


@pytest.mark.parametrize(
    "name, message",
    [("qwen33", 'Did you mean "qwen3"'), ("qwen2_vl", "does not train yet"), ("Qwen", 'Did you mean "qwen"')],
)
def test_unknown_names(assets, name, message):
    with pytest.raises(TemplateError, match=message):
        find_template(config(name), tokenizer_of(assets, "qwen3"))


def test_a_slow_tokenizer_is_refused():
    class Slow:
        is_fast = False

    with pytest.raises(TemplateError, match="Slow is no fast tokenizer"):
        find_template(config(), Slow())


def test_difference_from_the_vendor_is_told_once_with_the_token(assets, caplog):
    with caplog.at_level(logging.WARNING, "luthier"):
        find_template(config("llama3"), tokenizer_of(assets, "llama3.1"))
        assert "token 3 is 'user' here and 'system' there" in caplog.text and len(caplog.records) == 1
        caplog.clear()
        find_template(config("qwen"), tokenizer_of(assets, "qwen2.5"))
        find_template(config("qwen3"), tokenizer_of(assets, "qwen3"))
        find_template(config("minimind"), tokenizer_of(assets, "minimind"))
        find_template(config("deepseek"), tokenizer_of(assets, "deepseek-llm"))
        assert not caplog.records


def test_the_mode_is_described(assets):
    described = find_template(
        config("qwen3", enable_thinking=False, default_system="S"), tokenizer_of(assets, "qwen3")
    ).describe()
    assert described == {
        "template": "qwen3",
        "enable_thinking": False,
        "preserve_thinking": False,
        "default_system": "S",
        "tool_format": "qwen",
    }
    assert find_template(config(), tokenizer_of(assets, "qwen3")).describe()["enable_thinking"] is None


def test_the_tokenizer_is_left_alone(assets):
    tokenizer = tokenizer_of(assets, "qwen3")
    before = (tokenizer.backend_tokenizer.to_str(), tokenizer.chat_template, tokenizer.eos_token)
    for name in (None, "llama3", "alpaca"):
        find_template(config(name), tokenizer).encode(PLAIN["multi"])
    assert (tokenizer.backend_tokenizer.to_str(), tokenizer.chat_template, tokenizer.eos_token) == before


@pytest.mark.parametrize("name", ["qwen3", "llama3.1", "minimind", "stories260K"])
def test_documents(assets, name):
    """Plain text: bos as the tokenizer adds it, no control token from the text, one token for the end."""
    tokenizer = tokenizer_of(assets, name)
    template = find_template(config(), tokenizer)
    (ids,) = template.encode_texts(["Once upon a time"])
    body = tokenizer("Once upon a time")["input_ids"]
    assert ids == [*body, ids[-1]]
    assert tokenizer.decode(ids[-1:]) in ("<|endoftext|>", "<|end_of_text|>", "</s>")
    assert ids[-1] in template.stop_token_ids
    (attack,) = template.encode_texts(["a</s>b<|endoftext|>c<|end_of_text|>d"])
    assert attack.count(ids[-1]) == 1
    with pytest.raises(TemplateError, match="document 2 of 2"):
        template.encode_texts(["fine", "\ud800"])


def test_a_tokenizer_saved_and_loaded_gives_the_same(assets, tmp_path):
    """What a checkpoint carries: the chat template that a named template wrote, used as auto afterwards."""
    tokenizer = tokenizer_of(assets, "minimind")
    template = find_template(config("chatml"), tokenizer)
    copy = PreTrainedTokenizerFast(
        tokenizer_object=type(tokenizer.backend_tokenizer).from_str(tokenizer.backend_tokenizer.to_str()),
        eos_token=tokenizer.eos_token,
    )
    copy.chat_template = template.jinja()
    copy.save_pretrained(tmp_path)
    again = find_template(config(), PreTrainedTokenizerFast.from_pretrained(tmp_path))
    for case in ("single", "system", "system multi"):
        assert flat(again.encode(PLAIN[case])) == flat(template.encode(PLAIN[case]))


@pytest.mark.parametrize("name", [None, "qwen3", "gpt_oss", "chatml"])
@pytest.mark.parametrize("keys", [{}, {"enable_thinking": False}, {"enable_thinking": None}, {"default_system": "Be kind."}])
def test_what_a_checkpoint_records_finds_the_same_template_again(assets, name, keys):
    """describe() is what chat, serve and export follow: from it alone a model is asked as it was trained."""
    tokenizer = tokenizer_of(assets, "minimind")
    trained = find_template(config(name, **keys), tokenizer)
    record = dict(trained.describe())
    followed = {key: record[key] for key in ("enable_thinking", "preserve_thinking", "default_system")}
    again = find_template(config(record["template"], **followed), tokenizer)
    asking = talk(say("user", "Hi"), say("assistant", "Yes?", thinking="hm"), say("user", "Who?"))
    assert dict(again.describe()) == record and again.encode_prompt(asking) == trained.encode_prompt(asking)
