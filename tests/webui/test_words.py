"""Both languages say the same things, and every key and complaint that a page can show has Chinese words."""

import re
from pathlib import Path

import pytest

from luthier.config.docs import read_docs
from luthier.config.rules import RULES
from luthier.webui import layout
from luthier.webui.words import label, locale, say, translate

WEBUI = Path(layout.__file__).parent


def test_both_locales_have_the_same_keys_and_placeholders():
    en, zh = locale("en"), locale("zh")
    assert en.keys() == zh.keys()
    holes = {key for key in en if set(re.findall(r"{(\w+)", en[key])) != set(re.findall(r"{(\w+)", zh[key]))}
    assert not holes


def test_every_word_that_a_page_asks_for_is_there():
    asked = set()
    for file in WEBUI.rglob("*.py"):
        asked |= set(re.findall(r"""\bt\(\s*["']([a-z_.]+)["']""", file.read_text(encoding="utf-8")))
    asked = {key for key in asked if not key.endswith(".")}  # those go on with a variable
    assert len(asked) > 100
    assert asked <= locale("en").keys()


@pytest.mark.parametrize("page", ["train", "evaluate", "export"])
def test_fields_have_chinese_names(page):
    """A key that has just been built shows itself by its own name until somebody gives it one; all others have words."""
    keys = [key for keys in (*layout.sections(page).values(), *layout.folds(page).values()) for key in keys]
    keys += layout.model_keys()
    assert len([key for key in keys if label("zh", key) == key]) <= 0.2 * len(keys)
    assert all(read_docs()[key].zh for key in keys if key in read_docs())


def test_rules_of_the_configuration_are_said_in_chinese():
    untranslated = [rule.reason for rule in RULES if translate("zh", rule.reason) == rule.reason]
    assert len(untranslated) <= 0.2 * len(RULES), untranslated


@pytest.mark.parametrize(
    ("message", "wanted"),
    [
        ("lora_rank: 0 is out of range: it must be at least 1.", "0 超出范围：至少为 1。"),
        ('learning_rate: "fast" is not a number.', '"fast" 不是数。'),
        ('unknown key "lora_rnak". Did you mean "lora_rank"?', "没有配置项“lora_rnak”。是否指“lora_rank”？"),
        (
            "8 samples are nearly the same as an earlier one (a.json row 2 like row 1; b.json row 9 like a.json row 8)",
            "有 8 条样本与前面的几乎相同（a.json 第 2 行同 第 1 行; b.json 第 9 行同 a.json 第 8 行）",
        ),
        ("words that nobody has translated", "words that nobody has translated"),
    ],
)
def test_complaints_are_translated(message, wanted):
    assert translate("zh", message) == wanted
    assert translate("en", message) == message


def test_a_new_key_appears_by_itself_in_the_fold_of_its_group():
    shown = {key for keys in (*layout.sections("train").values(), *layout.folds("train").values()) for key in keys}
    own = set(layout.table()["own"])
    for key, doc in read_docs().items():
        if (
            doc.group in ("tuning", "data", "optimizer", "training", "logging", "saving")
            and layout.can_show(key)
            and key not in own
        ):
            assert key in shown, key
    assert say("en", "state.running") == "running"
