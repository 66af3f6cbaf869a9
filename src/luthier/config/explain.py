"""One key explained in words, in English or Chinese.

Enters: the name of a key (an old name of it will do).  Leaves: a few lines of text.
"""

from luthier.config.aliases import today_name
from luthier.config.docs import Doc, read_docs
from luthier.config.reference import GROUP_NAMES, show_value, show_values
from luthier.errors import ConfigError
from luthier.registry import nearest

LABELS = {
    "en": {
        "values": "values",
        "default": "default",
        "group": "group",
        "when": "when to change it",
        "old": "{} is now called {}.",
    },
    "zh": {"values": "取值", "default": "默认", "group": "分组", "when": "何时修改", "old": "{} 现名 {}。"},
}
NOTES = {
    "en": {
        "inert": "It is accepted so that existing configs run, and changes nothing here.",
        "partly": "Built today: {}.",
        "later": "Not built yet: {}. Setting it is refused.",
    },
    "zh": {
        "inert": "仅为兼容已有配置而接受，在此不起作用。",
        "partly": "目前可用：{}。",
        "later": "尚未实现，设置会被拒绝。",
    },
}


def explain_key(name: str, lang: str = "en") -> str:
    """Meaning, values, default and advice. ConfigError with the nearest keys for an unknown one."""
    key = today_name(name.strip().lstrip("-").replace("-", "_"))
    docs = read_docs()
    if key not in docs:
        close = nearest(key, docs, 3)
        hint = f"Did you mean {' or '.join(close)}?" if close else "`luthier config schema` lists all keys."
        raise ConfigError(f'unknown key "{name}".', hint)
    doc, labels = docs[key], LABELS[lang]
    lines = [doc.key, f"  {doc.meaning(lang)}", ""]
    if key != name.strip().lstrip("-").replace("-", "_"):
        lines.insert(0, labels["old"].format(name, key))
    rows = [
        (labels["values"], show_values(doc, lang)),
        (labels["default"], show_value(doc.default, lang)),
        (labels["group"], GROUP_NAMES[doc.group][lang == "zh"]),
    ]
    lines += [f"  {label}: {text}" for label, text in rows]
    if advice := doc.advice(lang):
        lines += ["", f"  {labels['when']}: {advice}"]
    if note := _note(doc, lang):
        lines += ["", f"  {note}"]
    return "\n".join(lines)


def list_keys(group: str | None = None, lang: str = "en") -> str:
    """Every key that does something today, with its default, by group; or one group only."""
    if group is not None and group not in GROUP_NAMES:
        close = nearest(group, GROUP_NAMES)
        hint = f"Did you mean {close[0]}? " if close else ""
        raise ConfigError(f'unknown group "{group}".', f"{hint}Groups: {', '.join(GROUP_NAMES)}.")
    shown = [doc for doc in read_docs().values() if doc.group == (group or doc.group) and doc.is_built and not doc.inert]
    lines: list[str] = []
    for doc in shown:
        heading = f"{GROUP_NAMES[doc.group][lang == 'zh']} ({doc.group})"
        if heading not in lines:
            lines += ["", heading]
        lines.append(f"  {doc.key} [{show_value(doc.default, lang)}]  {doc.meaning(lang)}")
    return "\n".join(lines).strip("\n")


def _note(doc: Doc, lang: str) -> str | None:
    notes = NOTES[lang]
    if doc.inert:
        return notes["inert"]
    if doc.feature and doc.built:
        return notes["partly"].format(", ".join(show_value(value, lang) for value in doc.built))
    return notes["later"].format(doc.feature) if doc.feature else None
