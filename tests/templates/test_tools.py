"""Tool formats: what is written is read back, what is no call stays text, and Jinja writes what Python writes."""

import json
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from luthier.errors import ConfigError, TemplateError
from luthier.templates import find_template
from luthier.templates.tools import TOOL_FORMATS, find_tool_format
from luthier.types import ToolCall
from tests.templates.cases import CALL, TOOL, config, say, talk, tokenizer_of

NAMES = (
    st.text(string.ascii_letters + "_", min_size=1, max_size=8)
    .filter(str.isidentifier)
    .filter(lambda n: n not in ("None", "True", "False"))
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=2),
)
CALLS = st.lists(st.tuples(NAMES, st.dictionaries(NAMES, VALUES, max_size=3)), min_size=1, max_size=3)
ONE_CALL = ("glm4",)  # formats that write one call in an answer
XML = ("qwen3_5", "glm4_moe", "minimax2", "seed_oss")  # values stand bare between words


def as_calls(pairs):
    return tuple(ToolCall(name=name, arguments=arguments) for name, arguments in pairs)


def schemas(calls):
    """Descriptions that say which arguments are text, without which a bare "3" could be a number."""
    kinds = [
        (call.name, {key: {"type": "string"} for key, value in call.arguments.items() if isinstance(value, str)})
        for call in calls
    ]
    return [{"name": name, "parameters": {"type": "object", "properties": properties}} for name, properties in kinds]


def plain(calls):
    return [(call.name, json.loads(json.dumps(call.arguments))) for call in calls]


@pytest.mark.parametrize("name", sorted(TOOL_FORMATS))
@settings(max_examples=60, deadline=None)
@given(pairs=CALLS)
def test_what_is_written_is_read_back(name, pairs):
    pairs = pairs[:1] if name in ONE_CALL else pairs
    if name in XML:  # one description a name; text that holds the format's own words cannot be told from them
        pairs = list({pair[0]: pair for pair in pairs}.values())
        pairs = [(n, {k: v for k, v in a.items() if "<" not in json.dumps(v)}) for n, a in pairs]
    calls, tool_format = as_calls(pairs), find_tool_format(name)
    if name in XML:
        stripped = [(n, {k: v.strip("\n") if isinstance(v, str) else v for k, v in a.items()}) for n, a in pairs]
        calls = as_calls(stripped)
    words, read = tool_format.read(tool_format.write(calls), schemas(calls))
    assert (words, plain(read)) == ("", plain(calls))


@pytest.mark.parametrize("name", XML)
@pytest.mark.parametrize("text", ["null", "3", "true", "[]"])
def test_text_that_looks_like_json_stays_text_where_the_schema_says_so(name, text):
    calls, tool_format = as_calls([("f", {"a": text})]), find_tool_format(name)
    assert tool_format.read(tool_format.write(calls), schemas(calls))[1] == calls


@pytest.mark.parametrize("name", sorted(TOOL_FORMATS))
def test_words_in_front_of_calls(name):
    tool_format = find_tool_format(name)
    text = "Let me look." + (tool_format.joint or "") + tool_format.write((CALL,))
    if name in ("llama3", "glm4", "mistral"):
        assert tool_format.read(text) == (text, ()), "these formats have no word of their own in front of a call"
        return
    words, read = tool_format.read(text, [TOOL])
    assert words == "Let me look." and plain(read) == plain((CALL,))


@pytest.mark.parametrize("name", sorted(TOOL_FORMATS))
@pytest.mark.parametrize(
    "text", ["", "Hello", "<tool_call>\n{broken\n</tool_call>", "Action: x", '{"a": 1}', "[1, 2]", "null", "f\n3", "[[]]"]
)
def test_what_is_no_call_stays_text(name, text):
    assert find_tool_format(name).read(text, [TOOL]) == (text, ())


def test_pythons_own_words_may_be_names():
    call = ToolCall(name="import", arguments={"from": "in(x", "class": ["not(a)", None], "note": "or="})
    lfm2 = find_tool_format("lfm2")
    assert lfm2.read(lfm2.write((call,))) == ("", (call,))


def test_an_unknown_format_names_the_nearest():
    with pytest.raises(ConfigError, match='"qwn"'):
        find_tool_format("qwn")


def test_glm4_refuses_two_calls():
    with pytest.raises(TemplateError, match="one call in an answer, not 2"):
        find_tool_format("glm4").write((CALL, CALL))


@pytest.mark.parametrize(
    "vendor, name",
    [("qwen2.5", "qwen"), ("qwen3", "qwen"), ("llama3.1", "llama3"), ("minimind", "qwen"), ("deepseek-llm", "default")],
)
def test_the_vendors_format_is_recognised(assets, vendor, name):
    assert find_template(config(), tokenizer_of(assets, vendor)).describe()["tool_format"] == name


@pytest.mark.parametrize("template", [None, "qwen3", "llama3", "glm4_moe", "mistral", "deepseek", "gpt_oss"])
def test_a_generated_answer_is_read_back(assets, template):
    """What a template makes of an answer, its end-of-turn taken off, is that answer again."""
    tokenizer = tokenizer_of(assets, "llama3.1" if template == "llama3" else "qwen3")
    found = find_template(config(template), tokenizer)
    for answer in (
        say("assistant", "Plain words."),
        say("assistant", "Four.", thinking="2 + 2"),
        say("assistant", tool_calls=(CALL,)),
    ):
        if template in (None, "llama3", "mistral", "deepseek") and answer.thinking and template is not None:
            continue
        conversation = talk(say("user", "x"), answer, tools=[TOOL])
        (turn,) = found.encode(conversation)
        ids = turn.answer[:-1] if turn.answer[-1] in found.stop_token_ids else turn.answer
        read = found.parse(tokenizer.decode(ids), [TOOL])
        assert (read.content, read.thinking or None, plain(read.tool_calls)) == (
            answer.content,
            answer.thinking,
            plain(answer.tool_calls),
        )


def test_prose_is_not_taken_for_a_call_where_no_tools_are_offered(assets):
    found = find_template(config("llama3"), tokenizer_of(assets, "llama3.1"))
    text = '{"name": "x", "parameters": {}}'
    assert found.parse(text).content == text and not found.parse(text).tool_calls
    assert found.parse(text, [TOOL]).tool_calls
