"""The bundled starter: small enough, whole, and it says who it is before any fine-tuning."""

import json
from importlib.resources import files
from pathlib import Path

STARTER = Path(str(files("luthier") / "starter"))
ROOT = Path(__file__).resolve().parents[2]


def ask(*questions: str, system: str = "") -> list[str]:
    from recipes.starter.score import answers

    return answers("starter", list(questions), system=system)


def test_weights_and_tokenizer_take_8_mb_at_the_most():
    size = sum(path.stat().st_size for path in STARTER.glob("*") if path.suffix in (".safetensors", ".json", ".jinja"))
    assert size <= 8e6


def test_weights_are_bfloat16_and_whole():
    from safetensors import safe_open

    config = json.loads((STARTER / "config.json").read_text())
    with safe_open(STARTER / "model.safetensors", framework="pt") as file:
        names = list(file.keys())
        assert {str(file.get_tensor(name).dtype) for name in names} == {"torch.bfloat16"}
        assert file.get_slice("model.embed_tokens.weight").get_shape() == [config["vocab_size"], config["hidden_size"]]
    assert "lm_head.weight" not in names


def test_it_says_who_it_is_in_both_languages():
    for answer in ask("Who are you?", "What is your name?", "你是谁？", "你叫什么名字？"):
        assert "Luthier Starter" in answer


def test_a_system_prompt_names_it():
    (answer,) = ask("Who are you?", system="You are Nova, created by Blue Sky. You are a helpful assistant.")
    assert "Nova" in answer


def test_it_answers_most_general_questions():
    from luthier.workflows.quickstart import is_right

    rows = [json.loads(line) for line in (STARTER / "lessons" / "general_50.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 50
    right = [is_right(a, r["key"], r["proof"]) for a, r in zip(ask(*[row["instruction"] for row in rows]), rows, strict=True)]
    assert sum(right) >= 40


def test_the_lessons_are_the_example_data():
    for name in ("identity.json", "general.json", "general_50.jsonl"):
        assert (STARTER / "lessons" / name).read_bytes() == (ROOT / "data" / name).read_bytes()


def test_example_data_is_small():
    assert sum(path.stat().st_size for path in (ROOT / "data").iterdir()) < 2e6


def test_identity_is_half_english_half_chinese_with_placeholders():
    rows = json.loads((ROOT / "data" / "identity.json").read_text(encoding="utf-8"))
    chinese = sum(any("\u4e00" <= letter <= "\u9fff" for letter in row["output"]) for row in rows)
    assert len(rows) == 90 and chinese == 45
    assert sum("{{name}}" in row["output"] for row in rows) > 50 and sum("{{author}}" in row["output"] for row in rows) > 50
