"""Constrained answers of a random model, which knows no JSON: what comes is valid, and nothing beside it is touched."""

import json

import pytest

from luthier.engines.base import Sampling
from luthier.engines.grammar import COMPACT
from luthier.engines.hf import HFEngine
from luthier.errors import EngineError
from tests.conftest import make_tiny
from tests.engines.conftest import lively

SCHEMA = {
    "type": "object",
    "properties": {"name": {"enum": ["Ann", "李"]}, "age": {"type": "integer", "minimum": 0, "maximum": 9}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
JSON = f"start: %json {json.dumps(SCHEMA)}"
GREEDY = Sampling(do_sample=False, max_new_tokens=60)


@pytest.fixture(scope="module")
def engine():
    from transformers import AutoTokenizer

    from luthier.hub import resolve_model

    tokenizer = AutoTokenizer.from_pretrained(resolve_model("starter", None))
    model = lively(make_tiny("qwen3", vocab_size=len(tokenizer) + 30))  # heads are often wider than their tokenizer
    return HFEngine(model, tokenizer, [tokenizer.eos_token_id])


def test_a_random_model_writes_what_the_schema_asks_for(engine):
    from dataclasses import replace

    samplings = [Sampling(temperature=2, top_p=1, top_k=0, seed=seed, grammar=JSON, max_new_tokens=60) for seed in range(6)]
    samplings += [replace(GREEDY, grammar=JSON, frequency_penalty=1), GREEDY]
    found = {each.index: each for each in engine.generate([[5, 6, 7]] * 8, samplings)}
    for number in range(7):
        answer = json.loads(found[number].text)
        assert answer["name"] in ("Ann", "李")
        assert answer["age"] in range(10)
        assert found[number].finish_reason == "stop"
    alone = next(engine.generate([[5, 6, 7]], GREEDY))
    assert found[7].ids == alone.ids  # a free answer beside them is as it would be alone


def test_control_words_are_tokens_of_a_grammar(engine):
    opening = engine._tokenizer.convert_tokens_to_ids("<tool_call>")
    closing = engine._tokenizer.convert_tokens_to_ids("</tool_call>")
    body = json.dumps({"const": {"a": 1}, "x-guidance": COMPACT})
    grammar = f'start: <[{opening}]> "\\n" body "\\n" <[{closing}]>\nbody: %json {body}'
    answer = next(engine.generate([[5]], Sampling(do_sample=False, grammar=grammar)))
    assert answer.ids[0] == opening
    assert answer.ids[-1] == closing
    assert answer.text == '<tool_call>\n{"a": 1}\n</tool_call>'


@pytest.mark.parametrize(
    ("grammar", "reason"),
    [
        ('start: %json {"type": "objekt"}', "Invalid type: objekt"),
        ('start: %json {"properties": {"a": {"type": "string", "pattern": "(?=a)b"}}}', "look-around"),
        ("start: nowhere", "nowhere"),
    ],
)
def test_what_cannot_be_followed_is_refused_with_its_reason(engine, grammar, reason):
    with pytest.raises(EngineError, match=reason):
        next(engine.generate([[5]], Sampling(grammar=grammar)))


def test_tokens_are_bytes(engine):
    ids = engine._tokenizer.encode("é你!", add_special_tokens=False)
    assert b"".join(engine.token_bytes(id) for id in ids).decode() == "é你!"
