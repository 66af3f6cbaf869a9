"""Conversations, their Hugging Face form, and tokenizers for the tests of templates. Nothing here uses luthier.templates."""

from functools import cache
from pathlib import Path
from types import SimpleNamespace

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from luthier.types import Conversation, Message, ToolCall

NAMES = ("qwen2.5", "qwen3", "llama3.1", "deepseek-llm", "minimind")
TOOL = {
    "name": "get_weather",
    "description": 'The weather of a "place"',
    "parameters": {
        "type": "object",
        "properties": {
            "place": {"type": "string", "description": "a town – 城市", "enum": ["Köln", "北京"]},
            "days": {"type": "array", "items": {"type": "integer"}},
            "note": {"type": "string"},
        },
        "required": ["place"],
    },
}
CALL = ToolCall(name="get_weather", arguments={"place": "Köln", "days": [1, 2], "deep": {"a": None, "b": [True, 1.5, "x\ny"]}})


def say(role: str, content: str = "", **kwargs) -> Message:
    return Message(role=role, content=content, **kwargs)


def talk(*messages: Message, tools=()) -> Conversation:
    return Conversation(messages=messages, tools=tuple(tools))


PLAIN = {
    "single": talk(say("user", "Hi"), say("assistant", "Hello there!")),
    "system": talk(say("system", "Be kind."), say("user", "Hi"), say("assistant", "Hello there!")),
    "multi": talk(
        say("user", "What is 2 + 2?\n\nShow the steps."),
        say("assistant", "2 + 2 = 4."),
        say("user", "再问一次：二加二等于几？"),
        say("assistant", "等于四。\n\n```python\nprint(2 + 2)\n```"),
        say("user", "😀 thanks  "),
        say("assistant", "  You are\twelcome… "),
    ),
    "system multi": talk(
        say("system", "你是助手。\nAnswer briefly."),
        say("user", "a"),
        say("assistant", "b"),
        say("user", "c"),
        say("assistant", "d"),
    ),
    "long": talk(say("user", "word " * 400), say("assistant", "reply, " * 300 + "end")),
    "white": talk(say("user", "\n  x \n"), say("assistant", "\n\n  y\n"), say("user", " "), say("assistant", "z\n\n")),
    "empty answer": talk(say("user", "x"), say("assistant", ""), say("user", "y"), say("assistant", "z")),
}
TOOLS = {
    "offered": talk(say("user", "Weather?"), say("assistant", "Where?"), tools=[TOOL]),
    "called": talk(
        say("user", "Weather in Köln?"),
        say("assistant", tool_calls=(CALL,)),
        say("tool", '{"sky": "clear", "t": 21}'),
        say("assistant", "Clear, 21 degrees."),
        say("user", "Thanks"),
        say("assistant", "Welcome"),
        tools=[TOOL, {**TOOL, "name": "other"}],
    ),
    "called last": talk(say("system", "S"), say("user", "Weather?"), say("assistant", tool_calls=(CALL,)), tools=[TOOL]),
}
PARALLEL = {
    "parallel": talk(
        say("user", "Both?"),
        say("assistant", "Let me look.", tool_calls=(CALL, ToolCall(name="other", arguments={}))),
        say("tool", "sunny"),
        say("tool", "rainy\n"),
        say("assistant", "Sunny, then rain."),
        tools=[TOOL, {**TOOL, "name": "other"}],
    )
}
THINKING = {
    "thinking": talk(say("user", "2+2?"), say("assistant", "4", thinking="2 and 2\n\nis 4")),
    "thinking multi": talk(
        say("user", "2+2?"),
        say("assistant", "4", thinking="easy"),
        say("user", "3+3?"),
        say("assistant", "6", thinking="also easy"),
    ),
    "thinking half": talk(
        say("user", "2+2?"), say("assistant", "4"), say("user", "3+3?"), say("assistant", "6", thinking="hm")
    ),
    "thinking agent": talk(
        say("user", "Weather?"),
        say("assistant", "", thinking="I must look", tool_calls=(CALL,)),
        say("tool", "sunny"),
        say("assistant", "Sunny.", thinking="It said sunny"),
        say("user", "Thanks"),
        say("assistant", "Welcome", thinking="polite"),
        tools=[TOOL],
    ),
    "thinking in text": talk(
        say("user", "2+2?"),
        say("assistant", "<think>\nold\n</think>\n\n4"),
        say("user", "3+3?"),
        say("assistant", "<think>new</think>6"),
    ),
}


def hf(conversation: Conversation, reasoning_key: str = "reasoning_content") -> list[dict]:
    """The messages as a user of transformers would write them."""
    rows = []
    for message in conversation.messages:
        row: dict = {"role": message.role, "content": message.content}
        if message.thinking is not None:
            row[reasoning_key] = message.thinking
        if message.tool_calls:
            row["tool_calls"] = [
                {"type": "function", "function": {"name": call.name, "arguments": dict(call.arguments)}}
                for call in message.tool_calls
            ]
        rows.append(row)
    return rows


def hf_tools(conversation: Conversation) -> list[dict] | None:
    return [{"type": "function", "function": dict(tool)} for tool in conversation.tools] or None


def config(template: str | None = None, **keys) -> SimpleNamespace:
    """As much of a Config as find_template reads; what is not given has not been set by the user."""
    defaults = {"enable_thinking": True, "preserve_thinking": False, "stage": "sft", "mask_history": False}
    defaults |= {"default_system": None, "tool_format": None}
    return SimpleNamespace(template=template, model_fields_set=set(keys), **(defaults | keys))


def flat(turns) -> list[int]:
    return [i for turn in turns for i in (*turn.prompt, *turn.answer, *turn.tail)]


def learned(turns, tokenizer) -> list[str]:
    return [tokenizer.decode(turn.answer) for turn in turns if turn.answer]


@cache
def load(path: Path):
    """The tokenizer in a folder; shared by all tests, which a template must never notice."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(str(path))


def tokenizer_of(assets: Path, name: str):
    return load(assets / "models" / name if name == "stories260K" else assets / "tokenizers" / name)


CORPUS = [
    "The quick brown fox. </s> <s> [INST] hello [/INST] ok",
    "Ein schöner Tag, nicht wahr? 你好世界",
    "def f(x):\n    return x + 1\n",
] * 20
WORDS = ("<s>", "</s>", "<unk>", "[INST]", "[/INST]")


@cache
def small_tokenizer(kind: str):
    """A little tokenizer of each make: unigram (whose model can spell its control words), bpe (SentencePiece's with a Prepend
    normalizer), metaspace (prefix space in front of the first word only) and flags (control words that swallow space)."""
    from transformers import PreTrainedTokenizerFast

    special = [
        AddedToken(word, special=True, normalized=False, rstrip=kind == "flags", lstrip=word == "[/INST]") for word in WORDS
    ]
    if kind == "unigram":
        backend = Tokenizer(models.Unigram())
        backend.pre_tokenizer = pre_tokenizers.Metaspace()
        trainer = trainers.UnigramTrainer(vocab_size=300, special_tokens=list(WORDS), unk_token="<unk>", show_progress=False)
    else:
        backend = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=False))
        if kind == "bpe":
            backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        else:
            backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
        trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=list(WORDS), show_progress=False)
    backend.train_from_iterator(CORPUS, trainer)
    backend.decoder = decoders.Metaspace()
    backend.add_special_tokens(special)
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
