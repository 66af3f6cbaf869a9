"""One chain: train, chat, predict, API, merged, GGUF in llama.cpp. Greedy text of 50 prompts is the same at every link.

A greedy word is certain where no rounding can turn it over: if each logit of a link is within d of another link's, the
likeliest token is the same wherever it leads the second by more than 2 d. So the models are trained to answers that they are
sure of, the logits are held within d, and every answer has to be the same up to the first word that is less than certain:
nearly all are certain to their end, and are then the same to their end.
"""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx2
import pytest
import torch

from luthier.config import load_config
from luthier.engines.base import Sampling
from luthier.exporters.gguf import TOLERANCES
from luthier.runs import Run
from luthier.types import Conversation, Message
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
ANSWERS = [f"I know {thing}, {number}." for number in range(len(VERBS)) for thing in THINGS]
LONG = [f"She is {place} and {number} and then she is {place}, {number}." for number in range(5) for place in range(10)]
"""Answers for a model that cannot end: longer than NEW_TOKENS, and without bytes that it cannot tell apart."""

NEW_TOKENS = 16
PROBES = 10
"""Of how many prompts all logits are compared."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A real model by its name, or a random one of a family with a real tokenizer.

    template: None for the tokenizer's own.  f32: the largest difference of a logit in llama.cpp, all numbers in float32.
    """

    real: str | None = None
    family: str | None = None
    words: str | None = None
    template: str | None = None
    answers: tuple[str, ...] = tuple(ANSWERS)
    f32: float = TOLERANCES["F32"]


SUBJECTS = {
    "starter": Subject(real="starter"),
    # its </s> was never trained: the embedding of it, which is also the output layer, is that of every unused byte, to 4e-4
    "stories260K": Subject(real="models/stories260K", template="default", answers=tuple(LONG)),
    "qwen2": Subject(family="qwen2", words="qwen2.5"),
    "qwen3": Subject(family="qwen3", words="qwen3"),
    "llama": Subject(family="llama", words="llama3.1"),
    "mistral": Subject(family="mistral", words="deepseek-llm"),
    # llama.cpp looks GELU up in a table of halves, whatever the model's numbers: logits differ by 6.6e-4
    "gemma": Subject(family="gemma", words="minimind", f32=1e-3),
}


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the merged model says in this process. leads: by how much logit the likeliest token leads the second, by step."""

    text: str
    ids: list[int]
    leads: list[float]

    def is_certain(self, d: float) -> bool:
        return min(self.leads) > 2 * d

    def agrees(self, text: str, d: float, decode) -> bool:
        """Whether another link's text is the same, up to the first word that d may turn over."""
        if self.is_certain(d):
            return text == self.text
        sure = next(step for step, lead in enumerate(self.leads) if lead <= 2 * d)
        return text.startswith(plain(None, decode(self.ids[:sure])))


@pytest.fixture(params=SUBJECTS)
def subject(request):
    return SUBJECTS[request.param]


@pytest.fixture
def keys(subject, assets, family_folder, tmp_path):  # noqa: F811
    """A trained LoRA adapter, float32, and how to answer with it."""
    tied = subject.family == "gemma"
    folder = {None: None, "starter": "starter"}.get(subject.real, assets / str(subject.real))
    folder = folder or family_folder(subject.family, subject.words, tie_word_embeddings=tied)
    model = {"model_name_or_path": str(folder), "infer_dtype": "float32"}
    model |= {"template": subject.template} if subject.template else {}
    rows = [{"instruction": ask, "input": "", "output": answer} for ask, answer in zip(QUESTIONS, subject.answers, strict=True)]
    data = tmp_path / "questions.json"
    data.write_text(json.dumps(rows), encoding="utf-8")
    training = {"stage": "sft", "dataset": str(data), "output_dir": str(tmp_path / "run"), "report_to": "none"}
    training |= {"max_steps": 80, "learning_rate": 6e-3, "per_device_train_batch_size": 10, "gradient_accumulation_steps": 1}
    train(load_config(model | training | {"lora_rank": 32, "lora_alpha": 64}))
    return model | {"do_sample": False, "max_new_tokens": NEW_TOKENS}


@pytest.mark.slow
def test_greedy_text_is_the_same_at_every_link(subject, keys, llamacpp, tmp_path):  # noqa: F811
    tuned = keys | {"adapter_name_or_path": str(tmp_path / "run")}
    merged = keys | {"model_name_or_path": str(tmp_path / "merged")}
    export(load_config(tuned | {"export_dir": merged["model_name_or_path"]}))
    here = Here(merged)
    assert len({answer.text for answer in here.answers}) > 5
    told = {"chat": by_chat(tuned), "predict": by_predict(tuned, tmp_path), "API": by_api(tuned)}
    for link, texts in told.items():
        here.expect(texts, TOLERANCES["F32"], least=45, link=link)
    export(load_config(tuned | {"export_dir": str(tmp_path / "gguf"), "export_format": "gguf", "export_gguf_type": "f32"}))
    here.expect_llamacpp(llamacpp, tmp_path / "gguf", subject.f32, least=45)
    # the weights are rounded to half on both sides: what is left is that llama.cpp rounds the activations to half as well
    half = keys | {"model_name_or_path": str(tmp_path / "half")}
    export(load_config(tuned | {"export_dir": half["model_name_or_path"], "infer_dtype": "float16"}))
    export(load_config(tuned | {"export_dir": str(tmp_path / "f16"), "export_format": "gguf", "export_gguf_type": "f16"}))
    Here(half).expect_llamacpp(llamacpp, tmp_path / "f16", TOLERANCES["F16"], least=40)


class Here:
    """A model without an adapter in this process: all prompts in one batch, with the leads of its words and some logits."""

    def __init__(self, keys):
        config = settle(load_config(keys))
        self.tokenizer, self.template = load_words(config)
        answerer = load_answerer(config, self.tokenizer, self.template)
        talks = [Conversation(messages=(Message(role="user", content=text),)) for text in QUESTIONS]
        self.prompts = [self.template.encode_prompt(talk) for talk in talks]
        sampling = Sampling(do_sample=False, max_new_tokens=NEW_TOKENS, logprobs=2)
        found = {each.index: each for each in answerer.engine.generate(self.prompts, sampling)}
        self.answers = [self._answer(found[number]) for number in range(len(QUESTIONS))]
        with torch.no_grad():
            self.logits = [answerer.net(torch.tensor([prompt])).logits[0, -1].float() for prompt in self.prompts[:PROBES]]

    def expect(self, texts, d, least, link):
        assert len(texts) == len(self.answers)
        assert sum(answer.is_certain(d) for answer in self.answers) >= least, link
        for question, answer, text in zip(QUESTIONS, self.answers, texts):
            assert answer.agrees(text, d, self._decode), f"{link}: {question}: {text!r} instead of {answer.text!r}"

    def expect_llamacpp(self, llamacpp, folder, d, least):  # noqa: F811
        """The file's own template, cut by llama.cpp, gives the same ids; the logits are within d; and so the words agree."""
        [file] = folder.glob("*.gguf")
        jinja, stops = self.template.jinja(), self.template.stop_token_ids
        talks = [[{"role": "user", "content": text}] for text in QUESTIONS]
        written = self.tokenizer.apply_chat_template(talks, chat_template=jinja, tokenize=False, add_generation_prompt=True)
        found = llamacpp(file, self.prompts, written, new_tokens=NEW_TOKENS, stops=stops, logits=PROBES)
        assert found["words"] == self.prompts, file.name
        for ours, theirs in zip(self.logits, found["logits"], strict=True):
            torch.testing.assert_close(torch.tensor(theirs), ours, atol=d, rtol=0)
        ends = [ids[:-1] if ids[-1] in stops else ids for ids in found["answers"]]
        self.expect([plain(None, self._decode(ids)) for ids in ends], d, least, file.name)

    def _answer(self, found):
        leads = [step.top[0][1] - step.top[1][1] for step in found.logprobs]
        return Answer(text=plain(None, self._decode(found.ids)), ids=list(found.ids), leads=leads)

    def _decode(self, ids):
        return self.tokenizer.decode(list(ids), skip_special_tokens=True)


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


def by_api(keys):
    with serving(**keys) as address, httpx2.Client(timeout=120) as client, ThreadPoolExecutor(8) as pool:

        def ask(question):
            body = {"messages": [{"role": "user", "content": question}]}
            return client.post(f"{address}/v1/chat/completions", json=body).json()["choices"][0]["message"]

        return [plain(message.get("reasoning_content"), message["content"]) for message in pool.map(ask, QUESTIONS)]


def plain(thinking, words):
    """All that was said, without tags, blanks around it, and a character that was cut in two at the limit."""
    text = f"{thinking or ''}{words or ''}".replace("<think>", "").replace("</think>", "")
    return "".join(text.replace("\ufffd", "").split())
