"""The guarded tokenizer: the same ids as the tokenizer's own for its own words, plain text for the same words of a person."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from luthier.errors import TemplateError
from luthier.templates.guard import HIDDEN, MARKER, Guard, check_text
from tests.templates.cases import NAMES, WORDS, small_tokenizer, tokenizer_of

SMALL = ("unigram", "bpe", "metaspace", "flags")
settings.register_profile("templates", deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def own_ids(tokenizer, text):
    return tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids


@pytest.mark.parametrize("kind", SMALL)
@settings(settings.get_profile("templates"), max_examples=80)
@given(
    parts=st.lists(st.sampled_from([*WORDS, " ", "hello", "▁", "x ", " 你好", "<", "s>", "\n", "[INST", "a", "'"]), max_size=12)
)
def test_template_text_has_the_tokenizers_own_ids(kind, parts):
    """Prefix spaces, normalizers and space-swallowing control words behave as in the tokenizer itself."""
    tokenizer = small_tokenizer(kind)
    text = "".join(parts)
    assert Guard(tokenizer).encode([Guard(tokenizer).finish(text)]) == [own_ids(tokenizer, text)]


@pytest.mark.parametrize("name", [*NAMES, "stories260K"])
def test_real_tokenizers_too(assets, name):
    tokenizer = tokenizer_of(assets, name)
    guard = Guard(tokenizer)
    words = list(guard.control)
    text = f"  Hello {words[0]}{words[-1]}\n\nWorld {words[1]} 'tis 你好 {words[0]}"
    assert guard.encode([guard.finish(text)]) == [own_ids(tokenizer, text)]


@pytest.mark.parametrize("kind", SMALL)
@settings(settings.get_profile("templates"), max_examples=80)
@given(parts=st.lists(st.sampled_from([*WORDS, " ", "hello ", "<", "s>", "</", "[IN", "ST]", "\n"]), min_size=1, max_size=8))
def test_a_persons_words_never_become_control_tokens(kind, parts):
    tokenizer = small_tokenizer(kind)
    guard = Guard(tokenizer)
    text = "".join(parts)
    unknown = tokenizer.unk_token_id  # what a vocabulary cannot write is unknown, in any text
    control = set(guard.control.values()) - {unknown}
    (ids,) = guard.encode([guard.finish(guard.hide(text))])
    assert not control & set(ids)
    assert guard.finish(guard.hide(text)) == text, "hidden text comes back unchanged"


def test_two_halves_of_a_word_do_not_meet():
    """A template that writes "<" before a message and ">" after it must not complete a control word for its author."""
    guard = Guard(small_tokenizer("bpe"), ["{{ '<' ~ text ~ '>' ~ '[' ~ text ~ ']' }}"])
    for before, text, after in (("</", "s>", ""), ("[IN", "ST]", ""), ("", "</", "s>"), ("[", "/INST", "]"), ("<", "s", ">")):
        assert MARKER not in guard.finish(before + guard.hide(text) + after)
    assert guard.hide("s") != "s" == Guard(small_tokenizer("bpe"), ["{{ '<s>' }}"]).hide("s"), "only where halves are written"


def test_names_of_a_schema_stay_for_look_ups_and_all_else_is_hidden():
    guard = Guard(small_tokenizer("bpe"))
    value = {"type": "[INST]", "</s>": ["<s>", 1, None], "s>": {}}
    hidden = guard.hide_json(value)
    assert "type" in hidden and "</s>" not in hidden and "s>" not in hidden
    assert json.loads(guard.finish(json.dumps(hidden, ensure_ascii=False))) == value


def test_reserved_characters_and_half_characters_are_refused():
    guard = Guard(small_tokenizer("bpe"))
    for bad in (MARKER + "x", "a" + HIDDEN):
        with pytest.raises(TemplateError, match="Unicode reserves"):
            guard.hide(bad)
    with pytest.raises(TemplateError, match=r"file row 3.*lone surrogate"):
        check_text("a\ud800b", "file row 3")


def test_ordinary_added_tokens_stay_ordinary(assets):
    """deepseek-llm adds single letters to its vocabulary; they are how it writes text, not control words."""
    tokenizer = tokenizer_of(assets, "deepseek-llm")
    guard = Guard(tokenizer)
    assert guard.encode([guard.finish(guard.hide("smørrebrød"))]) == [own_ids(tokenizer, "smørrebrød")]


def test_cuts_fall_on_tokens(assets):
    """A token that holds a character of the answer belongs to the answer, whichever side it began on."""
    tokenizer = tokenizer_of(assets, "qwen3")
    guard = Guard(tokenizer)
    text = "say\n\n\nhello.\n\nend"  # "\n\n\n" and ".\n\n" are one token each
    prompt, answer, rest = (tokenizer.decode(part) for part in guard.encode_cut([text], [[5, 12]])[0])
    assert (prompt, answer, rest) == ("say", "\n\n\nhello.\n\n", "end")


def test_the_tokenizer_is_left_as_it_was(assets):
    tokenizer = tokenizer_of(assets, "minimind")
    before = tokenizer.backend_tokenizer.to_str()
    Guard(tokenizer).encode(["x"])
    assert tokenizer.backend_tokenizer.to_str() == before
