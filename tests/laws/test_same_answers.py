"""One chain: train, chat, predict, merged, GGUF in llama.cpp, API. Greedy text of 50 prompts is the same at every link."""

import json

import httpx2
import pytest

from luthier.config import load_config
from luthier.engines.base import Sampling
from luthier.runs import Run
from luthier.workflows.answering import load_answerer, load_words, settle
from luthier.workflows.chat import Chat
from luthier.workflows.export import export
from luthier.workflows.predict import predict
from luthier.workflows.train import train
from tests.exporters.conftest import family_folder, llamacpp  # noqa: F401
from tests.serving.conftest import serving

THINGS = ("the sun", "a dog", "Paris", "water", "a kite", "北京", "猫", "太阳", "苹果", "12")
VERBS = ("What is ", "Tell me about ", "什么是", "介绍一下", "1 + 1 = ")
QUESTIONS = [f"{verb}{thing}" for verb in VERBS for thing in THINGS]
NEW_TOKENS = 16

SUBJECTS = {
    "starter": (None, None, None),
    "stories260K": (None, None, "default"),
    "qwen2": ("qwen2", "qwen2.5", None),
    "qwen3": ("qwen3", "qwen3", None),
    "llama": ("llama", "llama3.1", None),
    "mistral": ("mistral", "deepseek-llm", None),
    "gemma": ("gemma", "minimind", None),
}
"""name -> family and tokenizer of a random model, or the real one of that name; the template, None for the tokenizer's own."""


@pytest.fixture(params=SUBJECTS)
def keys(request, assets, family_folder, tmp_path):  # noqa: F811
    """A trained LoRA adapter, float32, and how to answer with it."""
    family, words, template = SUBJECTS[request.param]
    folder = {"starter": "starter", "stories260K": assets / "models" / "stories260K"}.get(request.param)
    model = {
        "model_name_or_path": str(folder or family_folder(family, words, tie_word_embeddings=family == "gemma")),
        "infer_dtype": "float32",
    }
    model |= {"template": template} if template else {}
    rows = [{"instruction": question, "input": "", "output": f"I know {question}."} for question in QUESTIONS]
    data = tmp_path / "questions.json"
    data.write_text(json.dumps(rows), encoding="utf-8")
    training = {"stage": "sft", "dataset": str(data), "output_dir": str(tmp_path / "run"), "report_to": "none"}
    training |= {"max_steps": 6, "learning_rate": 2e-3, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 1}
    train(load_config(model | training))
    return model | {"do_sample": False, "max_new_tokens": NEW_TOKENS}


@pytest.mark.slow
def test_greedy_text_is_the_same_at_every_link(keys, llamacpp, tmp_path):  # noqa: F811
    tuned = keys | {"adapter_name_or_path": str(tmp_path / "run")}
    merged = keys | {"model_name_or_path": str(tmp_path / "merged")}
    told = {"chat": by_chat(tuned), "predict": by_predict(tuned, tmp_path)}
    export(load_config(tuned | {"export_dir": merged["model_name_or_path"]}))
    told["merged"] = by_engine(merged)
    told["API"] = by_api(tuned)
    told["API, merged"] = by_api(merged)
    export(load_config(tuned | {"export_dir": str(tmp_path / "gguf"), "export_format": "gguf", "export_gguf_type": "f32"}))
    told["GGUF F32"] = by_llamacpp(merged, llamacpp, tmp_path / "gguf")
    assert len(set(told["chat"])) > 5
    for link, answers in told.items():
        assert answers == told["chat"], link
    if "starter" in keys["model_name_or_path"] or "stories" in keys["model_name_or_path"]:
        # rounding to half may turn a word over, so the model that says what is right is rounded too
        half = keys | {"model_name_or_path": str(tmp_path / "half")}
        export(load_config(tuned | {"export_dir": half["model_name_or_path"], "infer_dtype": "float16"}))
        export(load_config(tuned | {"export_dir": str(tmp_path / "f16"), "export_format": "gguf", "export_gguf_type": "f16"}))
        pairs = zip(by_llamacpp(half, llamacpp, tmp_path / "f16"), by_engine(half))
        # llama.cpp rounds activations to half as well, which may turn over what is nearly a tie
        assert sum(a == b for a, b in pairs) >= len(QUESTIONS) - 2


def by_chat(keys):
    chat, answers = Chat(load_config(keys)), []
    for question in QUESTIONS:
        chat.clear()
        list(chat.ask(question))
        answers.append(plain(chat.sides[0].messages[-1].thinking, chat.sides[0].messages[-1].content))
    return answers


def by_predict(keys, tmp_path):
    data = {"stage": "sft", "do_predict": True, "predict_with_generate": True, "eval_dataset": str(tmp_path / "questions.json")}
    predict(load_config(keys | data | {"output_dir": str(tmp_path / "predicted")}))
    file = Run.open(tmp_path / "predicted").predictions_file
    return [plain(None, json.loads(line)["predict"]) for line in file.read_text(encoding="utf-8").splitlines()]


def by_engine(keys):
    """The engine alone, on a model without an adapter: all prompts in one batch."""
    config = settle(load_config(keys))
    tokenizer, template = load_words(config)
    engine = load_answerer(config, tokenizer, template).engine
    sampling = Sampling(do_sample=False, max_new_tokens=NEW_TOKENS)
    found = {answer.index: answer.ids for answer in engine.generate(prompts_of(template), sampling)}
    return [plain(None, tokenizer.decode(list(found[number]), skip_special_tokens=True)) for number in range(len(QUESTIONS))]


def by_llamacpp(keys, llamacpp, folder):  # noqa: F811
    tokenizer, template = load_words(settle(load_config(keys)))
    stops, answers = set(template.stop_token_ids), []
    [file] = folder.glob("*.gguf")
    for ids in llamacpp(file, prompts_of(template), new_tokens=NEW_TOKENS, logits=False)["answers"]:
        end = next((place for place, id in enumerate(ids) if id in stops), len(ids))
        answers.append(plain(None, tokenizer.decode(ids[:end], skip_special_tokens=True)))
    return answers


def by_api(keys):
    with serving(**keys) as address, httpx2.Client(timeout=120) as client:

        def ask(question):
            body = {"messages": [{"role": "user", "content": question}]}
            return client.post(f"{address}/v1/chat/completions", json=body).json()["choices"][0]["message"]

        return [plain(message.get("reasoning_content"), message["content"]) for message in map(ask, QUESTIONS)]


def prompts_of(template):
    from luthier.types import Conversation, Message

    return [template.encode_prompt(Conversation(messages=(Message(role="user", content=text),))) for text in QUESTIONS]


def plain(thinking, words):
    """All that was said, without tags, blanks around it, and a character that was cut in two at the limit."""
    text = f"{thinking or ''}{words or ''}".replace("<think>", "").replace("</think>", "")
    return "".join(text.replace("\ufffd", "").split())
