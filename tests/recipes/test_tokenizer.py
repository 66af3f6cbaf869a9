"""The tokenizer and chat template of the starter: any text goes there and back; the template writes what Qwen3's writes."""

import json

import pytest
from recipes.starter.corpus import write_corpus
from recipes.starter.tokenizer import MARKS, SPECIAL, build_tokenizer
from transformers import AutoTokenizer

TOOLS = [
    {
        "type": "function",
        "function": {"name": "f", "description": '天气 "q"', "parameters": {"type": "object", "properties": {}}},
    }
]
CALL = [{"type": "function", "function": {"name": "f", "arguments": {"a": 1, "b": "中"}}}]


def user(text):
    return {"role": "user", "content": text}


def assistant(text, **more):
    return {"role": "assistant", "content": text, **more}


def tool(text):
    return {"role": "tool", "content": text}


SYSTEM = {"role": "system", "content": "sys"}
CONVERSATIONS = {
    "question": [user("hi")],
    "system": [SYSTEM, user("hi")],
    "history": [user("a"), assistant("b"), user("c"), assistant("d"), user("e")],
    "call and results": [user("hi"), assistant("", tool_calls=CALL), tool("r1"), tool("r2")],
    "two calls with words": [
        SYSTEM,
        user("hi"),
        assistant("ok", tool_calls=CALL * 2),
        tool("r"),
        assistant("done"),
        user("more"),
    ],
    "thought in the history": [user("a"), assistant("<think>\nx\n</think>\n\nb"), user("c")],
    "thought of the last turn": [
        user("a"),
        assistant("b", reasoning_content="why"),
        user("c"),
        assistant("d", reasoning_content="so"),
    ],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("starter")
    write_corpus(out / "corpus", documents=120, conversations=400)
    build_tokenizer(out / "corpus", out / "tokenizer", size=1200)
    return out / "tokenizer"


@pytest.fixture(scope="module")
def tokenizer(folder):
    return AutoTokenizer.from_pretrained(folder)


def test_it_has_the_size_asked_for(tokenizer):
    assert len(tokenizer) == 1200


@pytest.mark.parametrize("text", ["Hello, 1234!", "你好，世界。", "𝔘𝔫𝔦 ∑ 🎻 \u0000\t  x\n\n", "{{name}} <think> é ñ 한국어"])
def test_any_text_goes_there_and_back(tokenizer, text):
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_special_tokens_are_single_ids_at_the_end(tokenizer):
    ids = [tokenizer.convert_tokens_to_ids(token) for token in (*SPECIAL, *MARKS)]
    assert ids == list(range(1200 - len(ids), 1200))
    assert tokenizer.eos_token == "<|im_end|>" and tokenizer.pad_token == "<|endoftext|>"
    assert all(tokenizer(token)["input_ids"] == [number] for token, number in zip((*SPECIAL, *MARKS), ids, strict=True))


def test_digits_stand_alone(tokenizer):
    assert len(tokenizer("20250")["input_ids"]) == 5


def test_chat_headers_are_short(tokenizer):
    assert len(tokenizer("<|im_start|>assistant\n")["input_ids"]) == 3


@pytest.mark.parametrize("name", CONVERSATIONS)
@pytest.mark.parametrize("tools", [None, TOOLS])
@pytest.mark.parametrize("how", [{}, {"enable_thinking": True}, {"enable_thinking": False}])
def test_the_template_writes_what_qwen3_writes(assets, tokenizer, name, tools, how):
    """But for one thing: without a thought the last answer opens with no empty <think> block."""
    qwen3 = AutoTokenizer.from_pretrained(assets / "tokenizers" / "qwen3")
    for prompt in (True, False):
        options = {"tools": tools, "add_generation_prompt": prompt, "tokenize": False, **how}
        messages = CONVERSATIONS[name]
        assert tokenizer.apply_chat_template(messages, **options) == qwen3.apply_chat_template(messages, **options)


def test_no_empty_thought_is_written(tokenizer):
    text = tokenizer.apply_chat_template([user("a"), assistant("b")], tokenize=False)
    assert text == "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n"


def test_the_split_is_the_one_that_llama_cpp_calls_qwen2(folder, assets):
    ours, theirs = (json.loads((place / "tokenizer.json").read_text()) for place in (folder, assets / "tokenizers" / "qwen3"))
    assert ours["pre_tokenizer"] == theirs["pre_tokenizer"]
    assert ours["normalizer"] == theirs["normalizer"]
