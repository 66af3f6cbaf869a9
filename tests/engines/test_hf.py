"""Batched answers are those of one prompt alone through transformers, whatever comes, goes or fails beside them."""

import logging
import random
import threading
from collections import deque
from dataclasses import replace

import pytest
import torch

from luthier.engines.base import BASE, Sampling
from luthier.engines.hf import HFEngine
from luthier.errors import EngineError
from tests.conftest import make_tiny
from tests.engines.conftest import STOP, alone, lively, random_prompts

GREEDY = Sampling(do_sample=False, max_new_tokens=30)
FAMILIES = {
    "qwen3": {},
    "llama": {},
    "qwen2": {},
    "phi3": {},
    "mistral": {"sliding_window": 7},
    "gemma2": {"sliding_window": 6},
    "gpt2": {"n_embd": 32, "n_head": 4, "n_layer": 2, "n_positions": 256},  # learned positions
    "bloom": {},  # no position ids at all
    "lfm2": {"layer_types": ["conv", "full_attention"]},  # a state that is more than keys and values
}


@pytest.fixture
def model():
    return lively(make_tiny("qwen3"))


def answers(engine, prompts, sampling, **options):
    return {answer.index: answer for answer in engine.generate(prompts, sampling, **options)}


def limits(count, most=40, seed=3):
    chance = random.Random(seed)
    return [chance.randint(1, most) for _ in range(count)]


def assert_as_alone(model, engine, count=14):
    prompts, most = random_prompts(count), limits(count)
    found = answers(engine, prompts, [replace(GREEDY, max_new_tokens=limit) for limit in most])
    for index, (prompt, limit) in enumerate(zip(prompts, most)):
        assert (found[index].ids, found[index].finish_reason) == alone(model, prompt, limit)
        assert found[index].prompt_tokens == len(prompt)


@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_answers_are_those_of_each_prompt_alone(family, characters):
    model = lively(make_tiny(family, **FAMILIES[family]))
    engine = HFEngine(model, characters, [STOP])
    engine._scheduler._max_rows = 5  # rows come and go
    assert_as_alone(model, engine)


def test_greedy_stories_are_those_of_each_prompt_alone(stories):
    model, tokenizer = stories
    text = "Once upon a time there was a little girl named Lily who loved to play with her red ball"
    prompts = [tokenizer(text[:length])["input_ids"] for length in range(3, len(text), 9)]
    most = limits(len(prompts), 60)
    found = answers(
        HFEngine(model, tokenizer, [tokenizer.eos_token_id]),
        prompts,
        [replace(GREEDY, max_new_tokens=limit) for limit in most],
    )
    for index, (prompt, limit) in enumerate(zip(prompts, most)):
        ids, reason = alone(model, prompt, limit, tokenizer.eos_token_id)
        assert (found[index].ids, found[index].finish_reason, found[index].text) == (ids, reason, tokenizer.decode(ids))


def test_little_memory_only_costs_time(model, characters):
    assert_as_alone(model, HFEngine(model, characters, [STOP], max_batch_tokens=200))
    assert_as_alone(model, HFEngine(model, characters, [STOP], max_batch_tokens=1))


class Cramped(torch.nn.Module):
    """A model that runs out of memory with more than so many rows or tokens."""

    def __init__(self, model, rows, tokens=10**9):
        super().__init__()
        self.model, self.rows, self.tokens = model, rows, tokens

    def get_base_model(self):
        return self.model

    def forward(self, input_ids, past_key_values=None, **inputs):
        if input_ids.shape[0] > self.rows or past_key_values.get_seq_length() > self.tokens:
            raise torch.OutOfMemoryError("out of memory")
        return self.model(input_ids=input_ids, past_key_values=past_key_values, **inputs)


def test_out_of_memory_goes_on_with_half_the_rows_and_says_so(model, characters, caplog):
    with caplog.at_level(logging.WARNING):
        assert_as_alone(model, HFEngine(Cramped(model, 3), characters, [STOP]))
    assert "out of memory on cpu with 14 answers at once: going on with 7." in caplog.text


def test_one_answer_that_does_not_fit_fails_alone(model, characters):
    engine = HFEngine(Cramped(model, 8, tokens=20), characters, [])
    with pytest.raises(EngineError, match="a single answer of"):
        answers(engine, [[5] * 15], replace(GREEDY, max_new_tokens=30))
    assert answers(engine, [[5]], replace(GREEDY, max_new_tokens=9))[0].finish_reason == "length"


class Poisoned(Cramped):
    """A model that computes no number after token 96."""

    def forward(self, input_ids, **inputs):
        out = self.model(input_ids=input_ids, **inputs)
        out.logits[(input_ids == 96).any(-1)] = float("nan")
        return out


@pytest.mark.parametrize("do_sample", [False, True])
def test_an_answer_without_a_number_fails_alone(model, characters, do_sample):
    engine = HFEngine(Poisoned(model, 8), characters, [])
    never = ((96, -100.0),)
    sampling = replace(GREEDY, do_sample=do_sample, max_new_tokens=5, logit_bias=never)
    outbox = deque()
    engine.add([engine.prepare(prompt, sampling, outbox, deltas=False) for prompt in ([5, 6], [5, 96], [7])])
    while engine.advance():
        pass
    errors = [item for item in outbox if isinstance(item, EngineError)]
    assert len(errors) == 1 and "no number" in errors[0].message
    assert [len(item.ids) for item in outbox if item not in errors] == [5, 5]


def test_another_error_reaches_whoever_waits_and_the_engine_goes_on(model, characters, monkeypatch):
    engine = HFEngine(model, characters, [STOP])
    monkeypatch.setattr(model, "forward", lambda *args, **options: [][0])
    with pytest.raises(IndexError):
        answers(engine, [[5], [6]], GREEDY)
    monkeypatch.undo()
    assert_as_alone(model, engine, count=3)


@pytest.mark.parametrize("prompt", [[5, 97], [-1]])
def test_ids_that_the_model_does_not_have_are_refused_before_they_reach_it(model, characters, prompt):
    engine = HFEngine(model, characters, [STOP])
    with pytest.raises(EngineError, match="outside the model's vocabulary of 97"):
        answers(engine, [prompt], GREEDY)
    with pytest.raises(EngineError, match="logit_bias"):
        answers(engine, [[5]], replace(GREEDY, logit_bias=((97, 1.0),)))


def test_logit_bias_forbids_and_forces(model, characters):
    engine = HFEngine(model, characters, [STOP])
    plain = answers(engine, [[5, 6]], GREEDY)[0].ids
    forbidden = answers(engine, [[5, 6]], replace(GREEDY, logit_bias=((plain[0], -100.0),)))[0].ids
    assert plain[0] not in forbidden
    assert set(answers(engine, [[5, 6]], replace(GREEDY, logit_bias=((42, 1e4),)))[0].ids) == {42}
    assert answers(engine, [[5, 6]], GREEDY)[0].ids == plain


def test_a_seed_repeats_itself_whatever_runs_beside_it(model, characters):
    sampling = Sampling(seed=7, temperature=1.5, top_p=0.95, max_new_tokens=25)
    prompts = random_prompts(9)
    engine = HFEngine(model, characters, [STOP])
    by_itself = answers(engine, prompts[4:5], sampling)[0].ids
    crowd = [replace(sampling, seed=index) for index in range(9)]
    crowd[4] = sampling
    crowd[2] = GREEDY
    assert answers(engine, prompts, crowd)[4].ids == by_itself
    assert answers(engine, prompts[4:5], replace(sampling, seed=8))[0].ids != by_itself
    unseeded = [answers(engine, prompts[4:5], replace(sampling, seed=None))[0].ids for _ in range(2)]
    assert unseeded[0] != unseeded[1]


def test_temperature_zero_is_greedy(model, characters):
    engine = HFEngine(model, characters, [STOP])
    prompts = random_prompts(3)
    zero = answers(engine, prompts, Sampling(temperature=0, max_new_tokens=30))
    assert [zero[i].ids for i in range(3)] == [answers(engine, prompts, GREEDY)[i].ids for i in range(3)]


def test_penalties_change_greedy_answers_as_transformers_does(model, characters):
    prompts = random_prompts(6)
    found = answers(HFEngine(model, characters, [STOP]), prompts, replace(GREEDY, repetition_penalty=1.7))
    for index, prompt in enumerate(prompts):
        assert found[index].ids == alone(model, prompt, 30, repetition_penalty=1.7)[0]


def test_frequency_penalty_is_subtracted_once_for_each_time(model, characters):
    """By hand: logits - frequency x count - presence x (count > 0), counted over the answer alone."""
    prompt, ids = random_prompts(1)[0], []
    for _ in range(20):
        with torch.no_grad():
            logits = model(torch.tensor([prompt + ids])).logits[0, -1]
        for token in set(ids):
            logits[token] -= 0.9 * ids.count(token) + 1.5
        ids.append(logits.argmax().item())
    sampling = replace(GREEDY, frequency_penalty=0.9, presence_penalty=1.5, max_new_tokens=20)
    assert list(answers(HFEngine(model, characters, []), [prompt], sampling)[0].ids) == ids


@pytest.mark.parametrize("options", [{}, {"length_penalty": 0.2}, {"repetition_penalty": 1.3}])
def test_beams_are_those_of_transformers(model, characters, options):
    prompts = random_prompts(5)
    found = answers(HFEngine(model, characters, [STOP]), prompts, replace(GREEDY, num_beams=3, **options))
    for index, prompt in enumerate(prompts):
        assert (found[index].ids, found[index].finish_reason) == alone(model, prompt, 30, num_beams=3, **options)


def test_beams_near_the_end_of_the_context_shorten_nobody_elses(model, characters):
    long, short = [5] * 250, [5, 6, 7]  # the context is 256
    engine = HFEngine(model, characters, [])
    found = answers(engine, [long, short], Sampling(do_sample=False, num_beams=2, max_new_tokens=20))
    assert [len(found[number].ids) for number in range(2)] == [6, 20]


def test_beams_and_plain_prompts_in_one_call(model, characters):
    prompts = random_prompts(4)
    found = answers(HFEngine(model, characters, [STOP]), prompts, [GREEDY, replace(GREEDY, num_beams=2)] * 2)
    assert found[1].ids == alone(model, prompts[1], 30, num_beams=2)[0]
    assert found[2].ids == alone(model, prompts[2], 30)[0]


def test_a_stop_text_is_cut_wherever_its_tokens_part(stories):
    model, tokenizer = stories
    engine = HFEngine(model, tokenizer, [tokenizer.eos_token_id])
    prompt = tokenizer("Once upon a time")["input_ids"]
    whole = answers(engine, [prompt], replace(GREEDY, max_new_tokens=80))[0].text
    for begin in range(10, 30):
        stop = whole[begin : begin + 7]
        wanted = whole[: whole.find(stop)]
        answer = answers(engine, [prompt], replace(GREEDY, max_new_tokens=80, stop=("never met", stop)))[0]
        assert (answer.text, answer.finish_reason) == (wanted, "stop")
        assert wanted.startswith(tokenizer.decode(answer.ids))
        assert "".join(engine.stream(prompt, replace(GREEDY, max_new_tokens=80, stop=(stop,)))) == wanted


def test_the_answer_ends_at_any_stop_id_and_where_the_context_ends(model, characters):
    engine = HFEngine(model, characters, [])
    prompt = random_prompts(1)[0]
    free = answers(engine, [prompt], GREEDY)[0].ids
    stopped = answers(HFEngine(model, characters, [96, free[3], free[9]]), [prompt], GREEDY)[0]
    assert (stopped.ids, stopped.finish_reason) == (free[: free.index(free[3])], "stop")
    last = answers(engine, [[5] * 254], GREEDY)[0]  # the context is 256
    assert (len(last.ids), last.finish_reason) == (2, "length")
    with pytest.raises(EngineError, match=r"prompt 1 has 256 tokens; the model's context is 256"):
        answers(engine, [[5], [5] * 256], GREEDY)
    with pytest.raises(EngineError, match="prompt 0 is empty"):
        answers(engine, [[]], GREEDY)


@pytest.mark.parametrize("name", ["qwen3", "llama3.1", "deepseek-llm", "minimind"])
def test_streamed_pieces_are_whole_and_make_up_the_answer(assets, name):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(assets / "tokenizers" / name)
    engine = HFEngine(lively(make_tiny("qwen3", vocab_size=len(tokenizer))), tokenizer, [])
    prompt = tokenizer("你好，世界 🙂")["input_ids"]
    for seed in range(4):  # a random model says half characters all the time
        sampling = Sampling(temperature=3, top_p=1, top_k=0, seed=seed, max_new_tokens=30)
        pieces = list(engine.stream(prompt, sampling))
        answer = answers(engine, [prompt], sampling)[0]
        assert "".join(pieces) == answer.text == tokenizer.decode(answer.ids).rstrip("\ufffd")
        assert not any(piece.endswith("\ufffd") for piece in pieces)


def test_logprobs_are_the_models_own(model, characters):
    prompt = random_prompts(1)[0]
    sampling = Sampling(seed=1, temperature=2, repetition_penalty=1.5, max_new_tokens=6, logprobs=3)
    answer = answers(HFEngine(model, characters, []), [prompt, [7]], sampling)[0]
    with torch.no_grad():
        expected = model(torch.tensor([prompt + list(answer.ids)])).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
    for place, token in enumerate(answer.logprobs):
        assert token.id == answer.ids[place]
        assert token.logprob == pytest.approx(expected[place, token.id].item(), abs=1e-4)
        values, ids = expected[place].topk(3)
        assert token.top == tuple((id, pytest.approx(value, abs=1e-4)) for id, value in zip(ids.tolist(), values.tolist()))


def test_cancelling_frees_the_slot_and_the_others_go_on(model, characters):
    engine = HFEngine(model, characters, [])
    prompts = random_prompts(3)
    stop = threading.Event()
    cancelled = engine.deltas(prompts[0], replace(GREEDY, max_new_tokens=100), stop.is_set)
    other = engine.stream(prompts[1], replace(GREEDY, max_new_tokens=20))
    first = [next(cancelled).text, next(other)]
    assert all(first)
    assert engine.num_running == 2
    stop.set()
    assert [delta.finish_reason for delta in cancelled][-1] == "cancelled"
    assert engine.num_running == 1
    assert first[1] + "".join(other) == answers(engine, [prompts[1]], replace(GREEDY, max_new_tokens=20))[0].text
    assert engine.num_running == 0


def test_closing_an_iterator_half_way_frees_everything(model, characters):
    engine = HFEngine(model, characters, [])
    model.train()
    batch = engine.generate(random_prompts(20), [replace(GREEDY, max_new_tokens=limit) for limit in range(10, 30)])
    next(batch)
    assert not model.training
    batch.close()
    assert engine.num_running == 0
    assert model.training


def test_threads_share_one_batch_and_get_their_own_answers(model, characters):
    engine = HFEngine(model, characters, [STOP])
    prompts = random_prompts(12)
    expected = answers(engine, prompts, GREEDY)
    found, most = {}, []

    def ask(index):
        found[index] = "".join(engine.stream(prompts[index], GREEDY, lambda: bool(most.append(engine.num_running))))

    threads = [threading.Thread(target=ask, args=[index]) for index in range(len(prompts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == {index: answer.text for index, answer in expected.items()}
    assert max(most) > 1


def test_the_model_is_put_back_as_it_was(characters):
    import luthier.models.attention  # noqa: F401  registers the attention of training

    model = lively(make_tiny("qwen3"))
    expected = alone(model, [5, 6, 7], 10)[0]
    model.set_attn_implementation("luthier_segments")
    model.train()
    model.model.layers[0].eval()
    modes = [module.training for module in model.modules()]
    assert answers(HFEngine(model, characters, [STOP]), [[5, 6, 7], [8]], replace(GREEDY, max_new_tokens=10))[0].ids == expected
    assert [module.training for module in model.modules()] == modes
    assert model.config._attn_implementation == "luthier_segments"
    assert all(parameter.grad is None for parameter in model.parameters())
    model.set_attn_implementation("sdpa")
    model(input_ids=torch.tensor([[5, 6, 7]]), labels=torch.tensor([[5, 6, 7]])).loss.backward()  # still learns


@pytest.fixture
def tuned():
    from peft import LoraConfig, get_peft_model

    net = get_peft_model(lively(make_tiny("llama")), LoraConfig(r=4, target_modules="all-linear"))
    net.add_adapter("second", LoraConfig(r=2, target_modules="all-linear"))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if "lora_" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) / 2)
    return net.eval()


def test_adapters_are_chosen_by_request_or_switched_off(tuned, characters):
    engine = HFEngine(tuned, characters, [STOP])
    prompts = random_prompts(3)
    expected = {"default": [alone(tuned, prompt, 30)[0] for prompt in prompts]}
    tuned.set_adapter("second")
    expected["second"] = [alone(tuned, prompt, 30)[0] for prompt in prompts]
    tuned.set_adapter("default")
    with tuned.disable_adapter():
        expected[BASE] = [alone(tuned, prompt, 30)[0] for prompt in prompts]
        assert [answers(engine, prompts, GREEDY)[i].ids for i in range(3)] == expected[BASE]
    assert len({str(ids) for ids in expected.values()}) == 3
    assert [answers(engine, prompts, GREEDY)[i].ids for i in range(3)] == expected["default"]
    for name, ids in expected.items():
        assert [answers(engine, prompts, GREEDY, adapter=name)[i].ids for i in range(3)] == ids
    streams = [engine.deltas(prompts[0], GREEDY, adapter=name) for name in expected]  # all three in one batch
    texts = dict.fromkeys(expected, "")
    for deltas in zip(*streams):
        for name, delta in zip(expected, deltas):
            texts[name] += delta.text
    for name, stream in zip(expected, streams):
        texts[name] += "".join(delta.text for delta in stream)
        shortest = min(len(ids[0]) for ids in expected.values())
        assert texts[name][:shortest] == characters.decode(expected[name][0])[:shortest]
    with pytest.raises(EngineError, match=r'no adapter "third"(?s:.*)default, second'):
        answers(engine, prompts, GREEDY, adapter="third")


@pytest.mark.parametrize(
    ("name", "value"),
    [("temperature", -1), ("top_p", 1.2), ("top_k", -3), ("min_p", 2), ("max_new_tokens", 0), ("num_beams", 0)],
)
def test_values_out_of_range_are_refused(name, value):
    with pytest.raises(EngineError, match=f"{name} is {value}"):
        Sampling(**{name: value})


def test_a_prompt_that_several_ask_is_computed_once_and_answered_as_if_alone(model, characters, monkeypatch):
    """Copies of four prompts beside one another; the plain way computes each, and draws the same."""
    prompts = [prompt for prompt in random_prompts(4) for _ in range(5)]
    most = limits(len(prompts))
    samplings = [Sampling(temperature=1.5, top_p=1, seed=number, max_new_tokens=limit) for number, limit in enumerate(most)]
    expected = {}
    for number, (prompt, sampling) in enumerate(zip(prompts, samplings)):
        expected[number] = next(HFEngine(model, characters, [STOP]).generate([prompt], sampling)).ids
    assert len(set(expected.values())) > 15
    cramped = HFEngine(model, characters, [STOP])
    cramped._scheduler._max_rows = 7  # most copies come later, beside rows that are under way
    assert {number: answer.ids for number, answer in answers(cramped, prompts, samplings).items()} == expected
    engine, read = HFEngine(model, characters, [STOP]), []
    plain = engine._runner.forward

    def counted(ids, *args, **options):
        read.extend(tuple(row) for row in ids if len(row) > 1)
        return plain(ids, *args, **options)

    monkeypatch.setattr(engine._runner, "forward", counted)
    assert {number: answer.ids for number, answer in answers(engine, prompts, samplings).items()} == expected
    assert read[0] == (0, 1)  # the trial of the direct way
    assert sorted(read[1:]) == sorted({tuple(prompt) for prompt in prompts})
