"""The thread that steps for everybody: the same answers, cancellation within a step, and life after errors."""

import queue
import threading

import pytest
import torch

from luthier.engines.base import Completion, Sampling
from luthier.engines.driver import Driver
from luthier.engines.hf import HFEngine
from luthier.errors import EngineError
from tests.conftest import make_tiny
from tests.engines.conftest import STOP, lively, random_prompts

GREEDY = Sampling(do_sample=False, max_new_tokens=20)


@pytest.fixture
def engine(characters):
    return HFEngine(lively(make_tiny("qwen3")), characters, [STOP])


@pytest.fixture
def driver(engine):
    driver = Driver(engine)
    yield driver
    driver.close()


def wait_for(inbox):
    """The Completion, or the error raised."""
    while True:
        for item in inbox.get(timeout=60):
            if isinstance(item, Exception):
                raise item
            if isinstance(item, Completion):
                return item


def test_answers_are_those_of_the_engine_alone(driver, engine):
    prompts = random_prompts(12)
    expected = {each.index: each.ids for each in engine.generate(prompts, GREEDY)}
    inboxes = [queue.Queue() for _ in prompts]
    threads = [
        threading.Thread(target=driver.submit, args=(prompt, GREEDY, inbox.put)) for prompt, inbox in zip(prompts, inboxes)
    ]
    for thread in threads:
        thread.start()
    assert [wait_for(inbox).ids for inbox in inboxes] == [expected[number] for number in range(12)]
    assert driver.num_running == driver.num_waiting == 0


def test_a_cancelled_answer_frees_its_slot_at_the_next_step(engine, characters):
    """Stepped by hand, so that a step can be counted."""
    long = Sampling(do_sample=False, max_new_tokens=200, logit_bias=((STOP, -100.0),))
    outboxes = [[], []]
    requests = [engine.prepare([5, 6], long, outbox) for outbox in outboxes]
    engine.add(requests)
    for _ in range(3):
        engine.advance()
    assert engine.num_running == 2
    requests[0].cancelled = True
    assert engine.advance()
    assert engine.num_running == 1
    assert outboxes[0][-1].finish_reason == "cancelled"
    assert not isinstance(outboxes[1][-1], Completion)
    requests[1].cancelled = True
    assert not engine.advance()
    assert engine.num_running == 0


def test_an_error_reaches_who_asked_and_the_thread_lives(driver, engine, monkeypatch):
    with pytest.raises(EngineError, match="is empty"):
        driver.submit([], GREEDY, print)
    model = engine._runner.model
    monkeypatch.setattr(model, "forward", lambda *args, **options: [][0])
    inbox = queue.Queue()
    driver.submit([5], GREEDY, inbox.put)
    with pytest.raises(IndexError):
        wait_for(inbox)
    monkeypatch.undo()
    driver.submit([5], GREEDY, inbox.put)
    assert wait_for(inbox).ids == next(engine.generate([[5]], GREEDY)).ids

    def gone(items):
        raise RuntimeError("the loop is closed")

    driver.submit([5], GREEDY, gone)
    driver.submit([5], GREEDY, inbox.put)
    assert wait_for(inbox).ids


def test_closing_cancels_what_is_under_way(engine):
    driver, inbox = Driver(engine), queue.Queue()
    driver.submit([5], Sampling(do_sample=False, max_new_tokens=200, logit_bias=((STOP, -100.0),)), inbox.put)
    inbox.get(timeout=60)
    driver.close()
    assert wait_for(inbox).finish_reason == "cancelled"
    with pytest.raises(EngineError, match="is closed"):
        driver.submit([5], GREEDY, inbox.put)


def test_hidden_states_are_the_models_own(engine):
    prompts = random_prompts(5)
    found = dict(engine.hidden_states(prompts))
    model = engine._runner.model
    for number, prompt in enumerate(prompts):
        with torch.no_grad():
            expected = model.model(input_ids=torch.tensor([prompt])).last_hidden_state[0]
        torch.testing.assert_close(found[number], expected, atol=1e-5, rtol=1e-5)
