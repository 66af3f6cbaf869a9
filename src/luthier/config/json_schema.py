"""The JSON schema of a configuration file, for editors (completion, descriptions, red underlines).

Enters: a language.  Leaves: a plain dict (JSON Schema 2020-12).
"""

from typing import Any

from luthier.config.docs import Doc, read_docs
from luthier.config.schema import Config


def make_schema(lang: str = "en") -> dict[str, Any]:
    """Types, limits, choices, defaults and descriptions of every key."""
    generated = Config.model_json_schema()["properties"]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Luthier",
        "type": "object",
        "additionalProperties": False,
        "properties": {key: _property(doc, generated[key], lang) for key, doc in read_docs().items()},
    }


def _property(doc: Doc, generated: dict[str, Any], lang: str) -> dict[str, Any]:
    described = {key: value for key, value in generated.items() if key != "title"}
    if doc.type == "list":  # "a,b" is a list too
        described["anyOf"] = [
            *described.pop("anyOf", [{"type": "array", "items": described.pop("items", {})}]),
            {"type": "string"},
        ]
        described.pop("type", None)
    advice = doc.advice(lang)
    return described | {"title": doc.key, "description": f"{doc.meaning(lang)} {advice}" if advice else doc.meaning(lang)}
