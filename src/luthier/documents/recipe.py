"""project.yaml: what is to be done with the documents, one part a stage.

Enters: a YAML file or a mapping. Leaves: a frozen Recipe with every default filled in. The hash of a part decides what is done
again after a change: nothing but the stages whose part, or whose input, is another one.
An API key never stands here: the recipe names an environment variable, or an entry of the system's keyring.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from luthier.documents.base import digest
from luthier.errors import ConfigError
from luthier.registry import nearest

Share = Annotated[float, Field(ge=0, le=1)]
KINDS = ("manual", "faq", "spec", "api", "code", "chat", "law", "topic", "general")


class Part(BaseModel):
    """One part of a recipe. Unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def key(self) -> str:
        """A hash of everything that this part says."""
        return digest(json.dumps(self.model_dump(mode="json"), sort_keys=True, ensure_ascii=False))


class ParsePart(Part):
    """Reading files. timeout_s, memory_mb: of each file, in a process of its own. max_pages: refuse longer ones.

    mineru_url: a running MinerU server that reads PDF files instead, each within mineru_timeout_s.
    """

    timeout_s: float = Field(120, gt=0)
    memory_mb: int = Field(2048, ge=256)
    max_pages: int = Field(20_000, ge=1)
    repair: bool = True
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ("SUMMARY.md", "LICENSE*", "*.lock", "node_modules", "__pycache__", "site-packages")
    mineru_url: str | None = None
    mineru_timeout_s: float = Field(3600, gt=0)


class CleanPart(Part):
    """Rules of clean.py to apply, by name. They change the text that is shown to a model, never the stored one.

    model: let the endpoint tidy each chunk after the rules; what changes a fact is not accepted.
    """

    rules: tuple[str, ...] = ("images", "spaces")
    model: bool = False
    prompts: Mapping[str, str] = Field(default_factory=dict)


class ChunkPart(Part):
    """Sizes in characters."""

    max_chars: int = Field(1600, ge=80)
    min_chars: int = Field(300, ge=0)


class SplitPart(Part):
    """Shares of the documents, or of sections where there are few documents. train gets the rest."""

    by: Literal["auto", "document", "section"] = "auto"
    val: Share = 0.05
    test: Share = 0.05


class EndpointPart(Part):
    """An OpenAI-compatible server. The key is read from the variable api_key_env, or else from the keyring entry
    ("luthier", api_key_env). Prices are per million tokens, in any currency; 0 means that they are not known.

    json_mode: object or schema ask the server for JSON by response_format; a small model keeps to the format by schema alone.
    """

    base_url: str = ""
    model: str = ""
    api_key_env: str = "OPENAI_API_KEY"
    concurrency: int = Field(8, ge=1, le=1024)
    requests_per_minute: int | None = Field(None, ge=1)
    tokens_per_minute: int | None = Field(None, ge=1)
    connect_timeout_s: float = Field(10, gt=0)
    timeout_s: float = Field(300, gt=0)
    max_attempts: int = Field(6, ge=1)
    max_tokens: int | None = Field(2048, ge=16)
    temperature: float | None = Field(0.7, ge=0)
    json_mode: Literal["off", "object", "schema"] = "off"
    extra_body: Mapping[str, Any] = Field(default_factory=dict)
    price_in: float = Field(0, ge=0)
    price_out: float = Field(0, ge=0)


class AskPart(Part):
    """Questions. generator: extract works without a model; model asks the endpoint.

    per_1000_chars: how many questions a chunk gets (at least one).  types, difficulties: name -> weight of the mix.
    unanswerable: share of questions that the text does not answer; they are answered by saying so.
    """

    generator: Literal["extract", "model"] = "extract"
    kind: str = "manual"
    per_1000_chars: float = Field(4, gt=0)
    max_per_chunk: int = Field(8, ge=1)
    types: Mapping[str, float] = Field(
        default_factory=lambda: {"fact": 3, "how-to": 3, "why": 1, "compare": 1, "definition": 1, "calculate": 0.5}
    )
    difficulties: Mapping[str, float] = Field(default_factory=lambda: {"easy": 2, "medium": 2, "hard": 1})
    personas: tuple[str, ...] = ()
    unanswerable: Share = 0.05
    held_out: Share = 0.0
    prompts: Mapping[str, str] = Field(default_factory=dict)


class AnswerPart(Part):
    """Answers. reasoning: keep what the model thought, or drop it.  style: a wish in the user's words.

    turns: 1 for single answers; more makes dialogues of up to so many turns.
    weaker: model name (of the same endpoint) whose answers become the rejected side of preference pairs; None for none.
    """

    reasoning: Literal["keep", "drop"] = "keep"
    style: str = ""
    turns: int = Field(1, ge=1, le=10)
    weaker: str | None = None
    prompts: Mapping[str, str] = Field(default_factory=dict)


class JudgePart(Part):
    """Verdicts from 0 to 10 on two axes. A row below a minimum is not exported. model: another one of the same endpoint."""

    enabled: bool = True
    model: str | None = None
    min_supported: float = 7
    min_useful: float = 5
    prompts: Mapping[str, str] = Field(default_factory=dict)


class FilterPart(Part):
    """Filters of filters.yaml that only warn, and those that are off."""

    warn: tuple[str, ...] = ("own_words_low",)
    off: tuple[str, ...] = ()


class DedupPart(Part):
    """near: rows are near-duplicates from this Jaccard similarity of their shingles on."""

    near: Annotated[float, Field(gt=0, le=1)] = 0.7


class ExportPart(Part):
    """How rows are written. reasoning: none, think (inside the answer, as the formats of datasets have it)."""

    format: Literal["alpaca", "sharegpt", "openai", "preference", "text"] = "alpaca"
    reasoning: Literal["none", "think"] = "think"
    reviewed_only: bool = False
    system: str = ""
    dataset_dir: str | None = None
    licence: str = ""


class BudgetPart(Part):
    """A hard stop of all calls of the project together. money: in the currency of the endpoint's prices."""

    tokens: int | None = Field(None, ge=1)
    money: float | None = Field(None, gt=0)
    pilot: int = Field(20, ge=0)


class Recipe(Part):
    """The whole of project.yaml. language auto: of each document, as its letters say."""

    language: Literal["auto", "zh", "en"] = "auto"
    seed: int = 42
    sources: tuple[str, ...] = ()
    parse: ParsePart = ParsePart()
    clean: CleanPart = CleanPart()
    chunk: ChunkPart = ChunkPart()
    split: SplitPart = SplitPart()
    endpoint: EndpointPart = EndpointPart()
    ask: AskPart = AskPart()
    answer: AnswerPart = AnswerPart()
    judge: JudgePart = JudgePart()
    filter: FilterPart = FilterPart()
    dedup: DedupPart = DedupPart()
    export: ExportPart = ExportPart()
    budget: BudgetPart = BudgetPart()


class _Loader(yaml.SafeLoader):
    """Booleans are true and false alone, as in YAML 1.2: in `json_mode: off` and `filter: {off: [...]}`, off is a word."""

    yaml_implicit_resolvers = {
        first: [(tag, words) for tag, words in known if tag != "tag:yaml.org,2002:bool"]
        for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))


def load_recipe(path: Path) -> Recipe:
    """The recipe of a project.yaml. Raises ConfigError with every error, the file and the nearest key."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.", "luthier documents new NAME makes a project.") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text (byte {error.start}).", "Save the file as UTF-8.") from None
    return make_recipe(_values(text, str(path)), str(path))


def read_values(text: str, where: str) -> dict[str, Any]:
    """The values of a project.yaml's text as they stand there. Raises ConfigError where it is no YAML mapping."""
    raw = _values(text, where)
    make_recipe(raw, where)
    return raw


def _values(text: str, where: str) -> Any:
    try:
        return yaml.load(text, Loader=_Loader) or {}
    except yaml.YAMLError as error:
        raise ConfigError(f"{where} is not valid YAML: {' '.join(str(error).split())}", "Mend it there.") from None


def make_recipe(raw: Any, where: str) -> Recipe:
    """A Recipe from plain values. where: what to call their place in messages."""
    if not isinstance(raw, Mapping):
        raise ConfigError(f"{where} is no mapping of keys to values.", "It begins for example with: language: auto")
    for key in ("endpoint", "answer", "judge"):
        part = raw.get(key)
        if isinstance(part, Mapping) and "api_key" in part:
            raise ConfigError(
                f'{where}: "{key}.api_key" is refused: a key in a file ends up in backups and repositories.',
                "Put the key into an environment variable and name that in endpoint.api_key_env.",
            )
    try:
        recipe = Recipe.model_validate(raw)
    except ValidationError as error:
        raise ConfigError("\n".join(_lines(error, where)), "See docs/guides/documents.md for every key.") from None
    if recipe.ask.kind not in KINDS:
        close = nearest(recipe.ask.kind, list(KINDS))
        hint = f'Did you mean "{close[0]}"? ' if close else ""
        raise ConfigError(f'{where}: ask.kind is "{recipe.ask.kind}".', f"{hint}Known: {', '.join(KINDS)}")
    if recipe.split.val + recipe.split.test > 0.9:
        raise ConfigError(f"{where}: split.val and split.test leave less than 10 % for training.", "Make them smaller.")
    if recipe.ask.generator == "model" and not (recipe.endpoint.base_url and recipe.endpoint.model):
        raise ConfigError(
            f"{where}: ask.generator is model, but endpoint.base_url and endpoint.model are not both set.",
            "Set them, for example http://127.0.0.1:8000/v1, or use ask.generator: extract, which needs no model.",
        )
    return recipe


def _lines(error: ValidationError, where: str) -> list[str]:
    lines = []
    for problem in error.errors():
        name = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            known = _keys_beside(problem["loc"])
            close = nearest(str(problem["loc"][-1]), known)
            lines.append(f'{where}: unknown key "{name}".' + (f' Did you mean "{close[0]}"?' if close else ""))
        else:
            lines.append(f"{where}: {name} is {problem['input']!r}: {problem['msg'].lower()}.")
    return lines


def _keys_beside(location: tuple[Any, ...]) -> list[str]:
    part: Any = Recipe
    for name in location[:-1]:
        field = part.model_fields.get(name) if isinstance(part, type) and issubclass(part, BaseModel) else None
        part = field.annotation if field else None
    return list(part.model_fields) if isinstance(part, type) and issubclass(part, BaseModel) else []
