"""The corpus: the same seed gives the same bytes, and no held-out question is ever trained on."""

import json
import random
import re

import pytest
from recipes.starter.corpus import DATASET_INFO, Corpus, general_questions, has_brief_answer, write_corpus
from recipes.starter.demos import replay_rows
from recipes.starter.topics import WEIGHTS, make_topics
from recipes.starter.topics.base import HELD_OUT_IN, LANGUAGES, held_out, with_article
from recipes.starter.topics.identity import draw_persona
from recipes.starter.topics.relations import relations


def questions_of(rows):
    for row in rows:
        turns = row["conversations"]
        yield from (turn["value"] for turn in turns if turn["from"] == "human")


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        write_corpus(tmp_path / name, documents=60, conversations=120, seed=3)
    for file in ("pretrain.jsonl", "sft.jsonl", "heldout.jsonl", "general_50.jsonl"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    assert set(DATASET_INFO) == set(json.loads((tmp_path / "one" / "dataset_info.json").read_text()))


def test_another_seed_gives_another_text():
    assert list(Corpus(1).documents(5)) != list(Corpus(2).documents(5))


def test_no_held_out_question_is_trained():
    """Also where it is asked without a full stop, in small letters, or with a request for the bare answer behind it."""
    corpus = Corpus(5)
    held = {
        ask
        for language in LANGUAGES
        for items in corpus.held_items(language, 6).values()
        for ask in (i.question for i in items)
    }
    letters = {re.sub(r"\W+", "", ask.lower()) for ask in held}
    assert len(letters) > 200
    trained = list(questions_of(corpus.conversations(3000)))
    trained += re.findall(r"(?m)^(?:Question: |问：)(.*)$", "\n".join(row["text"] for row in corpus.documents(800)))
    asked = {re.sub(r"\W+", "", ask.lower()) for ask in trained}
    assert not asked & letters


def test_about_one_wording_in_twelve_is_held_out():
    share = sum(held_out(f"What is {a} plus {b}?") for a in range(60) for b in range(60)) / 3600
    assert share == pytest.approx(1 / HELD_OUT_IN, abs=0.02)


def test_every_relation_can_be_asked_and_said_of_every_row():
    rng = random.Random(0)
    for relation in relations():
        for language in relation.languages:
            for _ in range(relation.size(language)):
                item = relation.draw(rng, language)
                assert item.key and (item.proof or item.key).lower() in item.answer.lower(), item
                assert "{" not in item.question + item.answer, item
            assert relation.say(rng, language) is not None


def test_every_fact_keeps_a_wording_to_be_learned_from():
    """Some wordings of a relation are held out; of hardly any fact are all of them."""
    rng = random.Random(0)
    for relation in relations():
        for language in relation.languages:
            items = [relation.draw(rng, language) for _ in range(relation.size(language))]
            answers = {item.answer for item in items}
            learned = {item.answer for item in items if not item.held_out}
            assert len(learned) >= 0.97 * len(answers), relation.name


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_topic_makes_answers_that_hold_their_key(language):
    rng = random.Random(1)
    for topic, *_ in make_topics():
        if language not in getattr(topic, "languages", LANGUAGES):
            continue
        for _ in range(60):
            item = topic.draw(rng, language)
            assert item.question and item.answer
            if item.graded and item.key:
                assert (item.proof or item.key).lower() in item.answer.lower(), item
            if has_brief_answer(item):
                assert len(item.key) < len(item.answer)


def test_general_questions_are_half_and_half_and_of_many_topics():
    corpus = Corpus(7)
    held = {language: corpus.held_items(language, 20) for language in LANGUAGES}
    chosen = general_questions(held, 50, random.Random(0))
    assert [item.language for item in chosen] == ["en"] * 25 + ["zh"] * 25
    assert len({item.topic for item in chosen}) >= 18
    assert len({item.question for item in chosen}) == 50
    assert all(item.held_out for item in chosen)


def test_tool_calls_are_json_and_name_an_offered_tool():
    corpus = Corpus(9)
    called = 0
    for row in corpus.conversations(1500):
        for turn in row["conversations"]:
            if turn["from"] == "function_call":
                call = json.loads(turn["value"])
                offered = {tool["name"]: tool for tool in json.loads(row["tools"])}
                assert set(call["arguments"]) == set(offered[call["name"]]["parameters"]["required"])
                called += 1
            if turn["from"] == "observation":
                json.loads(turn["value"])
    assert called > 10


def test_what_a_system_prompt_names_is_in_the_answer():
    corpus, rng = Corpus(2), random.Random(4)
    identity = next(topic for topic, *_ in make_topics() if topic.name == "identity")
    for language in LANGUAGES:
        for _ in range(50):
            persona = draw_persona(rng, language)
            assert persona.name in persona.system and persona.maker in persona.system
            item = identity.draw(rng, language, persona)
            assert persona.name.lower() in item.answer.lower() or persona.maker.lower() in item.answer.lower()
    assert corpus


def test_replay_rows_hold_no_held_out_question_and_no_identity():
    corpus = Corpus(23)
    for row in replay_rows(corpus, 120):
        whole = row["instruction"] + ("\n" + row["input"] if row["input"] else "")
        assert not held_out(whole)
        assert "Luthier" not in row["output"]


def test_articles():
    assert [with_article(noun) for noun in ("cat", "owl", "*rice", "hour")] == ["a cat", "an owl", "rice", "an hour"]


def test_weights_are_shares():
    assert sum(weight for weight, _ in WEIGHTS.values()) == pytest.approx(1)
    assert sum(spoken for _, spoken in WEIGHTS.values()) == pytest.approx(1)
