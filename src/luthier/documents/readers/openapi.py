"""OpenAPI and Swagger descriptions: a heading for each operation, with its parameters, body and answers as tables."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from luthier.documents.base import Parsed
from luthier.documents.readers.decode import decode
from luthier.documents.readers.table import table_of
from luthier.errors import DataError

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
MAX_DEPTH = 4


def read_openapi(path: Path, options: Mapping[str, Any]) -> Parsed:
    text, notes = decode(path)
    try:
        api = json.loads(text) if text.lstrip().startswith("{") else yaml.safe_load(text)
    except (json.JSONDecodeError, yaml.YAMLError) as error:
        raise DataError(f"{path.name} is no valid JSON or YAML: {' '.join(str(error).split())}.", "Mend it there.") from None
    if not isinstance(api, dict) or not isinstance(api.get("paths"), dict):
        raise DataError(f"{path.name} is no OpenAPI description: it has no paths.", "Give the file that lists the operations.")
    info = api.get("info") or {}
    title = str(info.get("title") or path.stem)
    parts = [f"# {title}", str(info.get("description") or "").strip()]
    for route, item in api["paths"].items():
        for method in METHODS:
            if isinstance(item, dict) and isinstance(item.get(method), dict):
                parts += _operation(api, route, method, item, item[method])
    body = "\n\n".join(part for part in parts if part) + "\n"
    return Parsed(text=body, title=title, kind="openapi", parser="own", version="1", notes=notes)


def _operation(api: dict, route: str, method: str, item: dict, operation: dict) -> Iterator[str]:
    summary = str(operation.get("summary") or operation.get("operationId") or "").strip()
    yield f"## {method.upper()} {route}" + (f" {summary}" if summary else "")
    yield str(operation.get("description") or "").strip()
    parameters = [_follow(api, entry) for entry in [*(item.get("parameters") or []), *(operation.get("parameters") or [])]]
    body = _follow(api, operation.get("requestBody") or {})
    rows = [_row(entry.get("name"), entry.get("in"), entry, entry.get("schema") or entry, api) for entry in parameters]
    for media in (body.get("content") or {}).values():
        rows += list(_properties(api, media.get("schema") or {}, "body"))
        break
    if rows:
        yield table_of([["name", "in", "type", "required", "description"], *rows])
    answers = [
        [str(code), _text(_follow(api, answer).get("description"))]
        for code, answer in (operation.get("responses") or {}).items()
    ]
    if answers:
        yield table_of([["status", "meaning"], *answers])


def _properties(api: dict, schema: dict, place: str, prefix: str = "", depth: int = 0) -> Iterator[list[str]]:
    schema = _follow(api, schema)
    required = schema.get("required") or []
    for name, entry in (schema.get("properties") or {}).items():
        entry = _follow(api, entry)
        yield _row(prefix + name, place, entry | {"required": name in required}, entry, api)
        if depth < MAX_DEPTH:
            inner = _follow(api, entry.get("items") or entry)
            yield from _properties(api, inner, place, f"{prefix}{name}.", depth + 1)


def _row(name: Any, place: Any, entry: dict, schema: dict, api: dict) -> list[str]:
    schema = _follow(api, schema)
    kind = str(schema.get("type") or "")
    if schema.get("enum"):
        kind += " (" + ", ".join(map(str, schema["enum"])) + ")"
    if "default" in schema:
        kind += f", default {schema['default']}"
    required = "yes" if entry.get("required") is True else "no"
    return [str(name), str(place), kind, required, _text(entry.get("description") or schema.get("description"))]


def _text(value: Any) -> str:
    return " ".join(str(value or "").split())


def _follow(api: dict, entry: Any, depth: int = 0) -> dict:
    """What a $ref inside the same file points to; {} where it points nowhere."""
    reference = entry.get("$ref") if isinstance(entry, dict) else None
    if not isinstance(reference, str) or not reference.startswith("#/") or depth > MAX_DEPTH:
        return entry if isinstance(entry, dict) else {}
    target: Any = api
    for part in reference[2:].split("/"):
        target = target.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(target, dict) else None
    return _follow(api, target, depth + 1)
