"""Text comes out as soon as it is whole and never sooner; stop texts are found wherever tokens part them."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luthier.engines.detokenize import HALF, Detokenizer, StopTexts

TEXTS = [
    "你好，世界！我是 Archer 🤖👩‍👩‍👧‍👦 and I say: “hello”\n\n  indented\tcode()  ",
    "naïve café — 日本語 한국어 🇨🇳 ﷽",
    "def f(x):\n    return x*2  # 注释\n",
]
TOKENIZERS = ["tokenizers/qwen3", "tokenizers/llama3.1", "tokenizers/deepseek-llm", "tokenizers/minimind", "models/stories260K"]


@pytest.fixture(scope="module", params=TOKENIZERS)
def tokenizer(request, assets):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(assets / request.param)


def test_pieces_make_up_the_text_and_are_whole(tokenizer):
    for text in TEXTS:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        detokenizer = Detokenizer(tokenizer.decode)
        pieces = [detokenizer.push(id) for id in ids]
        assert "".join(pieces) == tokenizer.decode(ids)
        assert not any(HALF in piece for piece in pieces)
        ascii = [id for id in ids if tokenizer.decode([id]).isascii()]
        assert all(detokenizer.push(id) for id in ascii if tokenizer.decode([id]).strip())  # nothing is held without need


def test_random_tokens_make_up_what_the_tokenizer_decodes(tokenizer):
    chance = random.Random(0)
    for _ in range(100):
        ids = [chance.randrange(len(tokenizer)) for _ in range(chance.randint(1, 40))]
        detokenizer = Detokenizer(tokenizer.decode)
        text = "".join([detokenizer.push(id) for id in ids])
        if HALF not in tokenizer.decode(ids):
            assert text == tokenizer.decode(ids)


def test_half_a_character_at_the_end_is_no_text():
    bytes_of = [bytes([byte]) for byte in "a你好".encode()]
    detokenizer = Detokenizer(lambda ids: b"".join(bytes_of[id] for id in ids).decode(errors="replace"))
    assert [detokenizer.push(id) for id in range(6)] == ["a", "", "", "你", "", ""]


@given(st.lists(st.text("ab|", max_size=4), max_size=12), st.lists(st.text("ab|", min_size=1, max_size=4), max_size=3))
def test_stop_texts_cut_at_the_first_of_them(pieces, stops):
    """Against the plain way: after every piece, look through the whole text so far."""
    search, given_out, met = StopTexts(stops), "", False
    expected, seen = None, ""
    for piece in pieces:
        seen += piece
        text, met = search.push(piece)
        given_out += text
        places = [seen.find(stop) for stop in stops if stop in seen]
        if places:
            expected = seen[: min(places)]
        assert met == bool(places)
        if met:
            break
    assert given_out + ("" if met else search.flush()) == (expected if met else seen)
