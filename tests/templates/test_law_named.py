"""Law 1 for every named template over every tokenizer: what the assistant says and its end-of-turn are learned, nothing else.

A model is asked as it was trained. Every message has words that no template writes, so that each stretch can be told by eye.
"""

from dataclasses import replace

import pytest

from luthier.errors import TemplateError
from luthier.templates.family import family_names, load_family
from luthier.templates.named import NamedTemplate
from luthier.templates.thinking import ThinkingMode
from luthier.types import ToolCall
from tests.templates.cases import NAMES, TOOL, flat, say, talk, tokenizer_of

FAST = ("default", "chatml", "qwen", "qwen3", "llama2", "llama3", "mistral", "glm4", "gemma", "gpt_oss", "solar")
CASES = [
    pytest.param(name, vendor, marks=[] if vendor == "minimind" or name in FAST else pytest.mark.slow)
    for vendor in (*NAMES, "stories260K")
    for name in family_names()
]
CALL = ToolCall(name="get_weather", arguments={"place": "zzcall"})
TALKS = {
    "single": talk(say("user", "zzask"), say("assistant", "qqreply")),
    "multi": talk(
        say("system", "zzrules"),
        say("user", "zzask"),
        say("assistant", "qqreply"),
        say("user", "zzagain"),
        say("assistant", "qqmore"),
    ),
    "tools": talk(
        say("user", "zzask"),
        say("assistant", tool_calls=(CALL,)),
        say("tool", "zzresult"),
        say("assistant", "qqreply"),
        tools=[TOOL],
    ),
    "thinking": talk(
        say("user", "zzask"),
        say("assistant", "qqreply", thinking="qqthought"),
        say("user", "zzagain"),
        say("assistant", "qqmore", thinking="qqidea"),
    ),
}


@pytest.mark.parametrize("name, vendor", CASES)
def test_labels_and_prompts(assets, name, vendor):
    tokenizer = tokenizer_of(assets, vendor)
    template = NamedTemplate(load_family(name), tokenizer, thinking=ThinkingMode(enabled=True), history="dropped")
    for case, conversation in TALKS.items():
        turns = template.encode(conversation)
        answers = [message for message in conversation.messages if message.role == "assistant"]
        for turn, message in zip(turns, answers, strict=True):
            learned, given = tokenizer.decode(turn.answer), tokenizer.decode((*turn.prompt, *turn.tail))
            assert message.content in learned and "qq" not in given, case
            assert ("zz" in learned) == bool(message.tool_calls) == ("zzcall" in learned), case
        assert turns[-1].answer[-1] in template.stop_token_ids and not set(turns[-1].tail) & set(template.stop_token_ids)
        asking = replace(conversation, messages=conversation.messages[:-1])
        assert [*flat(turns[:-1]), *turns[-1].prompt] == template.encode_prompt(asking), "a model is asked as it was trained"


@pytest.mark.parametrize("mode", [True, False, None])
@pytest.mark.parametrize("name", [name for name in family_names() if load_family(name).thinking])
def test_prompts_in_every_mode(assets, name, mode):
    """Whatever stands for no reasoning: what is learned goes on from what is given."""
    tokenizer = tokenizer_of(assets, "minimind")
    template = NamedTemplate(load_family(name), tokenizer, thinking=ThinkingMode(enabled=mode), history="dropped")
    for case in ("single", "multi", "tools"):
        conversation = TALKS[case]
        turns = template.encode(conversation)
        asking = replace(conversation, messages=conversation.messages[:-1])
        assert [*flat(turns[:-1]), *turns[-1].prompt] == template.encode_prompt(asking), case


def test_no_family_asks_a_finished_conversation(assets):
    template = NamedTemplate(load_family("chatml"), tokenizer_of(assets, "minimind"))
    with pytest.raises(TemplateError, match="does not wait for an answer"):
        template.encode_prompt(TALKS["single"])
