"""Named templates: the vendor's ids where there is a vendor here, exact text by hand where there is none, and their turns."""

from pathlib import Path

import pytest
import yaml

from luthier.errors import TemplateError
from luthier.templates import find_template
from luthier.templates.family import family_names, load_family
from luthier.templates.named import NamedTemplate
from luthier.types import Conversation, Origin
from tests.templates.cases import (
    CALL,
    PARALLEL,
    PLAIN,
    THINKING,
    TOOL,
    TOOLS,
    config,
    flat,
    hf,
    hf_tools,
    learned,
    say,
    small_tokenizer,
    talk,
    tokenizer_of,
)

ONE = talk(say("system", "S"), say("user", "U"), say("assistant", "A"), say("user", "V"), say("assistant", "B"))

GOLDEN = yaml.safe_load(Path(__file__).with_name("golden.yaml").read_text(encoding="utf-8"))


@pytest.fixture
def speaking(assets):
    """A tokenizer that has every control word of a family."""
    from transformers import PreTrainedTokenizerFast

    def build(name):
        own = tokenizer_of(assets, "minimind").backend_tokenizer
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=type(own).from_str(own.to_str()), bos_token="^", eos_token="$")
        words = [word for text in load_family(name).texts for word in _words(text)]
        tokenizer.add_special_tokens({"additional_special_tokens": list(dict.fromkeys(words))})
        return tokenizer

    return build


def _words(text):
    import re

    return re.findall(r"<[|｜/]?[\w:▁ ]+[|｜]?>|\]~!?b\[?|\]~b\]|\[e~\[|\[/?[A-Z_a-z]+\]|(?<=token:)[^}]+", text)


@pytest.mark.parametrize("name", GOLDEN)
def test_the_text_is_the_familys(speaking, name):
    tokenizer = speaking(name)
    text = ""
    for turn in find_template(config(name), tokenizer).encode(ONE):
        text += f"{tokenizer.decode(turn.prompt)}|{tokenizer.decode(turn.answer)}|{tokenizer.decode(turn.tail)}"
    assert text == GOLDEN[name]


def test_stop_tokens(speaking):
    for name, words in {
        "llama3": ["<|eot_id|>", "<|eom_id|>", "$"],
        "glm4": ["<|user|>", "<|observation|>", "$"],
        "gpt_oss": ["$", "<|return|>", "<|call|>"],
        "chatml": ["<|im_end|>", "<|im_start|>", "$"],
    }.items():
        tokenizer = speaking(name)
        stops = tokenizer.convert_ids_to_tokens(find_template(config(name), tokenizer).stop_token_ids)
        assert [stop for stop in stops if stop != "<|endoftext|>"] == words, name


@pytest.mark.parametrize(
    "name, vendor, cases",
    [
        ("qwen", "qwen2.5", PLAIN | TOOLS),
        ("qwen3_nothink", "qwen2.5", {k: v for k, v in PLAIN.items() if k.startswith("system")}),
        ("deepseek", "deepseek-llm", PLAIN),
        ("minimind", "minimind", PLAIN | THINKING),
    ],
)
def test_ids_are_the_vendors(assets, name, vendor, cases):
    tokenizer = tokenizer_of(assets, vendor)
    template = find_template(config(name), tokenizer)
    for case, conversation in cases.items():
        if case == "thinking in text":
            continue  # a named template keeps a block as the dataset spells it; the vendor's writes it anew
        if any(m.content != m.content.strip() or not m.content for m in conversation.messages if not m.tool_calls):
            continue  # white space that meets the template's: named templates tokenise slot by slot, as at generation
        expected = tokenizer.apply_chat_template(
            hf(conversation), tools=hf_tools(conversation), tokenize=True, return_dict=False
        )
        assert flat(template.encode(conversation)) == expected, case


@pytest.mark.parametrize(
    "case", ["single", "system", "multi", "called", "parallel", "thinking", "thinking multi", "thinking agent"]
)
def test_qwen3_writes_history_as_its_vendor_when_history_is_not_trained(assets, case):
    tokenizer = tokenizer_of(assets, "qwen3")
    conversation = (PLAIN | TOOLS | PARALLEL | THINKING)[case]
    template = find_template(config("qwen3", mask_history=True), tokenizer)
    if case in ("called", "thinking agent"):
        pytest.skip("the vendor keeps or adds reasoning between calls; LLaMA-Factory's qwen3 drops it")
    if case == "multi":
        conversation = talk(*conversation.messages[:4])
    expected = tokenizer.apply_chat_template(hf(conversation), tools=hf_tools(conversation), tokenize=True, return_dict=False)
    assert flat(template.encode(conversation)) == expected


class TestThinking:
    """qwen3 by name does what LLaMA-Factory's qwen3 does: DESIGN's facts, section 5 of the reference."""

    EMPTY = "<think>\n\n</think>\n\n"

    @pytest.mark.parametrize("mode, learns", [(True, True), (False, False), (None, False)])
    def test_an_empty_block_is_learned_or_given(self, assets, mode, learns):
        tokenizer = tokenizer_of(assets, "qwen3")
        (turn,) = find_template(config("qwen3", enable_thinking=mode), tokenizer).encode(PLAIN["single"])
        assert tokenizer.decode(turn.answer).startswith(self.EMPTY) == learns
        assert tokenizer.decode(turn.prompt).endswith(self.EMPTY) == (not learns)

    def test_every_turn_has_reasoning_unless_history_is_masked(self, assets):
        tokenizer = tokenizer_of(assets, "qwen3")
        half, multi = THINKING["thinking half"], THINKING["thinking multi"]
        full = find_template(config("qwen3"), tokenizer)
        assert learned(full.encode(half), tokenizer) == [f"{self.EMPTY}4<|im_end|>", "<think>\nhm\n</think>\n\n6<|im_end|>"]
        assert learned(full.encode(multi), tokenizer)[0] == "<think>\neasy\n</think>\n\n4<|im_end|>"
        for keys in ({"mask_history": True}, {"stage": "dpo"}):
            masked = find_template(config("qwen3", **keys), tokenizer)
            assert learned(masked.encode(multi), tokenizer)[0] == "4<|im_end|>"
            assert learned(masked.encode(half), tokenizer) == ["4<|im_end|>", "<think>\nhm\n</think>\n\n6<|im_end|>"]
            kept = find_template(config("qwen3", preserve_thinking=True, **keys), tokenizer)
            assert learned(kept.encode(multi), tokenizer)[0] == "<think>\neasy\n</think>\n\n4<|im_end|>"

    def test_false_leaves_all_reasoning_out(self, assets, caplog):
        tokenizer = tokenizer_of(assets, "qwen3")
        template = find_template(config("qwen3", enable_thinking=False), tokenizer)
        assert learned(template.encode(THINKING["thinking multi"]), tokenizer) == ["4<|im_end|>", "6<|im_end|>"]
        assert "reasoning in the data is left out" in caplog.text

    def test_reasoning_in_text_is_kept_as_the_dataset_spells_it(self, assets):
        tokenizer = tokenizer_of(assets, "qwen3")
        got = learned(find_template(config("qwen3"), tokenizer).encode(THINKING["thinking in text"]), tokenizer)
        assert got == ["<think>\nold\n</think>\n\n4<|im_end|>", "<think>new</think>6<|im_end|>"]

    def test_prompts_drop_history_and_close_thinking(self, assets):
        tokenizer = tokenizer_of(assets, "qwen3")
        asking = talk(*THINKING["thinking multi"].messages[:3])
        for mode, end in ((True, "assistant\n"), (False, self.EMPTY), (None, self.EMPTY)):
            text = tokenizer.decode(find_template(config("qwen3", enable_thinking=mode), tokenizer).encode_prompt(asking))
            assert "easy" not in text and text.endswith(end)
        kept = find_template(config("qwen3", preserve_thinking=True), tokenizer)
        assert "<think>\neasy\n</think>\n\n4" in tokenizer.decode(kept.encode_prompt(asking))

    def test_families_that_do_not_reason_keep_it_as_words(self, assets):
        tokenizer = tokenizer_of(assets, "qwen3")
        template = find_template(config("qwen3_nothink", enable_thinking=False, mask_history=True), tokenizer)
        answers = [f"<think>\n{each}\n</think>\n\n{n}<|im_end|>" for each, n in (("easy", 4), ("also easy", 6))]
        assert learned(template.encode(THINKING["thinking multi"]), tokenizer) == answers


@pytest.mark.parametrize("name", ["qwen", "llama3", "chatml", "gemma", "phi4"])
def test_a_tokenizer_without_the_familys_words_still_stops(assets, name, caplog):
    """The commands of every guide use `--template qwen` on any model."""
    tokenizer = tokenizer_of(assets, "stories260K")
    template = find_template(config(name), tokenizer)
    turns = template.encode(ONE)
    assert template.stop_token_ids == (tokenizer.eos_token_id,)
    assert all(turn.answer[-1] == tokenizer.eos_token_id for turn in turns)
    assert tokenizer.eos_token_id not in [i for turn in turns for i in turn.prompt + turn.answer[:-1]]
    assert caplog.text.count("lacks the end-of-turn token") == 1


def test_default_system_and_its_replacement(assets):
    tokenizer = tokenizer_of(assets, "qwen2.5")
    asking = talk(say("user", "Hi"))
    assert "created by Alibaba Cloud" in find_template(config("qwen"), tokenizer).render(asking)
    assert "system\nMine<" in find_template(config("qwen", default_system="Mine"), tokenizer).render(asking)
    assert "system" not in find_template(config("qwen", default_system=""), tokenizer).render(asking)
    assert "system\nMine<" in find_template(config(default_system="Mine"), tokenizer).render(asking)
    given = talk(say("system", "Theirs"), say("user", "Hi"))
    assert "Mine" not in find_template(config(default_system="Mine"), tokenizer).render(given)


def test_tool_format_replaces_the_familys(assets):
    tokenizer = tokenizer_of(assets, "qwen2.5")
    for name in ("qwen", None):
        text = find_template(config(name, tool_format="default"), tokenizer).render(TOOLS["called"])
        assert "Action: get_weather\nAction Input: " in text and "> Tool Name: other" in text and "<tool_call>" not in text


@pytest.mark.parametrize("name", family_names())
def test_every_family_writes_every_conversation(assets, name):
    """No family fails, loses words or leaves an answer open; several calls at once may be refused, with the reason."""
    tokenizer = tokenizer_of(assets, "minimind")
    template = NamedTemplate(load_family(name), tokenizer)
    for case, conversation in (PLAIN | TOOLS | PARALLEL | THINKING).items():
        try:
            turns = template.encode(conversation)
        except TemplateError as error:
            assert case == "parallel" and "one call in an answer" in str(error)
            continue
        text = tokenizer.decode(flat(turns))
        assert all(message.content.strip()[:30] in text for message in conversation.messages), case
        assert turns[-1].answer[-1] in template.stop_token_ids, case
        assert len(turns) == sum(message.role == "assistant" for message in conversation.messages)


def test_weights_stay_with_their_turns(assets):
    tokenizer = tokenizer_of(assets, "qwen3")
    conversation = talk(
        say("user", "a"),
        say("assistant", "b", weight=0.0),
        say("user", "c"),
        say("assistant", "d", weight=0.5),
        say("user", "e"),
        say("assistant", "f"),
    )
    for name in (None, "qwen"):
        assert [turn.weight for turn in find_template(config(name), tokenizer).encode(conversation)] == [0.0, 0.5, 1.0]


def test_unusual_orders_of_messages(assets):
    tokenizer = tokenizer_of(assets, "qwen3")
    template = find_template(config("chatml"), tokenizer)
    start = "<|im_start|>"
    assert (
        template.render(talk(say("assistant", "a"), say("assistant", "b")))
        == f"{start}assistant\na<|im_end|>\n{start}assistant\nb<|im_end|>\n"
    )
    two = talk(say("user", "a"), say("user", "b"), say("system", "c"), say("assistant", "d"))
    assert template.render(two) == (
        f"{start}user\na<|im_end|>\n{start}user\nb<|im_end|>\n{start}system\nc<|im_end|>\n{start}assistant\nd<|im_end|>\n"
    )
    llama2 = find_template(config("llama2"), small_tokenizer("bpe"))
    assert llama2.render(talk(say("system", "S"), say("assistant", "A"))) == "<<SYS>>\nS\n<</SYS>>\n\nA</s>"


def test_errors_name_the_place(assets):
    tokenizer = tokenizer_of(assets, "qwen3")
    origin = Origin(dataset="d", file="data.json", row=9)
    for name in (None, "qwen"):
        template = find_template(config(name), tokenizer)
        with pytest.raises(TemplateError, match=r"data\.json row 9"):
            template.encode(Conversation(messages=(), origin=origin))
        with pytest.raises(TemplateError, match=r"data\.json row 9.*lone surrogate"):
            template.encode_batch(
                [PLAIN["single"], Conversation(messages=(say("user", "a\udc00"), say("assistant", "b")), origin=origin)]
            )
        with pytest.raises(TemplateError, match=r"data\.json row 9.*Unicode reserves"):
            template.encode(Conversation(messages=(say("user", "a\U0009fffe"), say("assistant", "b")), origin=origin))


def test_tools_may_be_wrapped_as_openai_does(assets):
    tokenizer = tokenizer_of(assets, "qwen2.5")
    wrapped = {"type": "function", "function": TOOL}
    for name in (None, "qwen"):
        template = find_template(config(name), tokenizer)
        messages = (say("user", "x"), say("assistant", tool_calls=(CALL,)))
        assert template.encode(talk(*messages, tools=[wrapped])) == template.encode(talk(*messages, tools=[TOOL]))
