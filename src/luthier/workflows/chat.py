"""A conversation with a model, or with two side by side: history, system message, settings, adapters. No terminal in it.

Enters: what a person says and wants changed. Leaves: pieces of answers as they come, and sharegpt rows ready for training.
Never: prints, trains.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from luthier.config import Config
from luthier.datasets.write import rows_of, write_rows
from luthier.engines.base import BASE, Sampling
from luthier.errors import ConfigError, DataError
from luthier.hub import resolve_adapter, resolve_model
from luthier.registry import nearest
from luthier.templates import find_template
from luthier.types import Conversation, Message
from luthier.workflows.answer_stream import AnswerReader, Event
from luthier.workflows.answering import (
    Answerer,
    add_adapter,
    load_answerer,
    load_words,
    read_record,
    remote_answerer,
    sampling_of,
    settle,
)
from luthier.workflows.thinking_stream import CLOSING, OPENING, Kind

log = logging.getLogger(__name__)


UNSAID = ("logprobs", "logit_bias", "grammar")
"""Fields of Sampling that nobody sets by hand in a chat."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A piece of an answer. side: which of the answering models.  kind: reasoning before the answer, or the answer's words."""

    side: int
    kind: Kind
    text: str


@dataclass(slots=True, kw_only=True)
class Side:
    """One answering model and what was said with it. adapter: BASE for none, None for the active one."""

    name: str
    answerer: Answerer
    adapter: str | None = None
    messages: list[Message] = field(default_factory=list)


class Chat:
    """sides: one, or with compare the base and the tuned model; both hear the same and remember their own answers.

    adapters: those in memory, by the name shown to people.  using: the one that answers, "base" for none.
    """

    def __init__(self, config: Config, *, compare: bool = False):
        """Loads the model(s). Raises LuthierError where a file is missing, or where there is nothing to compare."""
        if config.infer_backend == "openai" and not (config.model_name_or_path or config.adapter_name_or_path):
            answerer = remote_answerer(config)
        else:
            config = settle(_with_model(config))
            answerer = load_answerer(config, *load_words(config))
        self.sampling = sampling_of(config)
        self.system: str | None = None
        self.tools: tuple[Mapping[str, Any], ...] = ()
        name = Path((config.adapter_name_or_path or [config.model_name_or_path or config.engine_model or "model"])[-1]).name
        self.sides = [Side(name="tuned" if compare else name, answerer=answerer)]
        self.adapters = {name: "default"} if answerer.adapter else {}
        self.using = name if answerer.adapter else "base"
        if compare:
            self.sides.insert(0, _base_side(answerer))

    @property
    def config(self) -> Config:
        return self.sides[-1].answerer.config

    # ---- talking ----

    def ask(self, text: str, cancelled: Callable[[], bool] = lambda: False, *, role: str = "user") -> Iterator[Piece]:
        """Say something (role "tool": the result of a call) and get the pieces of all sides' answers, in turns as they come.

        The answers join the history, also one that is cancelled half-way. After an error the question is forgotten.
        """
        lengths = [len(side.messages) for side in self.sides]
        for side in self.sides:
            side.messages.append(Message(role=role, content=text))  # type: ignore[arg-type]
        answers = [self._answer(number, side, cancelled) for number, side in enumerate(self.sides)]
        try:
            while answers:
                for answer in list(answers):
                    piece = next(answer, None)
                    if piece is None:
                        answers.remove(answer)
                    else:
                        yield piece
        except BaseException:
            for side, length in zip(self.sides, lengths):
                del side.messages[length:]
            raise
        finally:
            for answer in answers:
                answer.close()

    def _answer(self, number: int, side: Side, cancelled: Callable[[], bool]) -> Iterator[Piece]:
        answerer = side.answerer
        prompt = answerer.template.encode_prompt(self._conversation(side))
        tokenizer = answerer.tokenizer
        opened = tokenizer is not None and tokenizer.decode(prompt[-8:]).rstrip().endswith(OPENING)
        special = tokenizer.all_special_tokens if tokenizer else ()
        tool_format = str(answerer.template.describe().get("tool_format", ""))
        reader, text = AnswerReader(opened=opened, hidden=special, tools=self.tools, tool_format=tool_format), ""
        for piece in answerer.engine.stream(prompt, self.sampling, cancelled, adapter=side.adapter):
            text += piece
            yield from _spoken(number, reader.push(piece))
        yield from _spoken(number, reader.flush())
        answer = answerer.template.parse(f"{OPENING}\n{text}" if opened else text, self.tools)
        hidden = [word for word in special if word not in (OPENING, CLOSING)]
        side.messages.append(replace(answer, content=_without(answer.content, hidden)))

    def _conversation(self, side: Side) -> Conversation:
        system = (Message(role="system", content=self.system),) if self.system else ()
        return Conversation(messages=(*system, *side.messages), tools=self.tools)

    # ---- history ----

    def clear(self) -> None:
        """Forget what was said; the system message stays."""
        for side in self.sides:
            side.messages.clear()

    def undo(self) -> str | None:
        """Forget the last question and its answers; the question, None where there is none."""
        asked = None
        for side in self.sides:
            starts = [i for i, message in enumerate(side.messages) if message.role == "user"]
            if starts:
                asked = side.messages[starts[-1]].content
                del side.messages[starts[-1] :]
        return asked

    def save(self, path: str | Path) -> int:
        """Add the conversation of each side to a .json or .jsonl file of sharegpt rows; the number of rows it then holds.

        Raises DataError where there is nothing to save yet, or the file is of another kind.
        """
        file = Path(path).expanduser()
        talks = [self._conversation(side) for side in self.sides if side.messages]
        if not talks:
            raise DataError("nothing was said yet.", "Ask something first; /save writes the conversation so far.")
        known = _known_rows(file)
        file.parent.mkdir(parents=True, exist_ok=True)
        return write_rows(file, [*known, *rows_of(talks, "sharegpt", Conversation)])

    # ---- settings ----

    def set(self, key: str, value: str) -> Any:
        """Change a field of Sampling, or enable_thinking; the new value. Raises ConfigError for an unknown key or bad value."""
        if key == "enable_thinking":
            return self._set_thinking(_read(value, "bool | None", key))
        kinds = {each.name: str(each.type) for each in fields(Sampling) if each.name not in UNSAID}
        if key not in kinds:
            close = nearest(key, list(kinds))
            hint = f'Did you mean "{close[0]}"? ' if close else ""
            raise ConfigError(f'there is no setting "{key}".', f"{hint}There are: {', '.join(kinds)}, enable_thinking")
        self.sampling = replace(self.sampling, **{key: _read(value, kinds[key], key)})
        return getattr(self.sampling, key)

    def _set_thinking(self, value: bool | None) -> bool | None:
        for side in self.sides:
            if side.answerer.tokenizer is None:
                raise ConfigError(
                    "the server decides whether this model thinks.", "Name the model here too: model_name_or_path"
                )
            config = side.answerer.config.model_copy(update={"enable_thinking": value})
            template = find_template(config, side.answerer.tokenizer)
            side.answerer = replace(side.answerer, config=config, template=template)
        return value

    def load_tools(self, path: str | Path) -> int:
        """Offer the tools of a JSON file (a list of function descriptions, OpenAI's wrapper or not); their number."""
        try:
            tools = json.loads(Path(path).expanduser().read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DataError(f"{path} cannot be read: {error}", "It has to be a JSON list of function descriptions.") from None
        if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
            raise DataError(f"{path} is not a JSON list of function descriptions.")
        self.tools = tuple(tool.get("function", tool) for tool in tools)
        return len(self.tools)

    # ---- adapters ----

    def use_adapter(self, name: str) -> str:
        """Answer with another adapter from now on: one in use before, "base" for none, or a folder; returns its name."""
        side = self.sides[-1]
        if side.answerer.net is None:  # a server's adapters are models there
            side.adapter, self.using = None if name == "base" else name, name
            return name
        if name != "base" and name not in self.adapters:
            name = self._load_adapter(side, name)
        if name == "base":
            side.adapter = BASE if side.answerer.adapter else None
        else:
            side.answerer.net.set_adapter(self.adapters[name])
            side.adapter = None
        self.using = name
        return name

    def _load_adapter(self, side: Side, name: str) -> str:
        folder = resolve_adapter(name, self.config)
        answerer = side.answerer
        if answerer.adapter is None:
            side.answerer = _attached(answerer, name)
            key = "default"
        else:
            key = f"adapter_{len(self.adapters)}"
            add_adapter(answerer.net, folder, key)
        trained = read_record(folder).get("template")
        if trained and trained != dict(side.answerer.template.describe()):
            log.warning("%s was trained with the template %s; this chat goes on with its own.", folder, trained)
        label = folder.name if folder.name not in self.adapters else str(folder)
        self.adapters[label] = key
        return label


def _with_model(config: Config) -> Config:
    """The starter answers where no model is named."""
    if config.model_name_or_path or config.adapter_name_or_path:
        return config
    return config.model_copy(update={"model_name_or_path": "starter"})


def _base_side(tuned: Answerer) -> Side:
    """The model as it was before tuning: the same one without its adapter, or the base that its training has recorded."""
    if tuned.net is None:
        raise ConfigError("--compare needs the model on this machine.", "Leave out infer_backend: openai")
    if tuned.adapter is not None:
        return Side(name="base", answerer=tuned, adapter=BASE)
    folder = resolve_model(tuned.config.model_name_or_path or "", tuned.config)
    name = read_record(folder).get("base_model")
    if not name:
        raise ConfigError(
            f"there is nothing to compare {tuned.config.model_name_or_path} with.",
            "--compare needs adapter_name_or_path, or a model that Luthier has trained.",
        )
    config = settle(tuned.config.model_copy(update={"model_name_or_path": name}))
    return Side(name="base", answerer=load_answerer(config, *load_words(config)))


def _attached(answerer: Answerer, adapter: str) -> Answerer:
    """The same model with its first adapter."""
    from luthier.adapters import ADAPTERS
    from luthier.engines.hf import HFEngine

    config = answerer.config.model_copy(update={"adapter_name_or_path": [adapter]})
    method = ADAPTERS["lora"](config)
    net = method.attach(answerer.net, trainable=False).eval()
    engine = HFEngine(net, answerer.tokenizer, answerer.template.stop_token_ids)
    return replace(answerer, config=config, net=net, adapter=method, engine=engine)


def _read(value: str, kind: str, key: str) -> Any:
    """Text as a value of a kind as dataclasses spell it: "bool", "int | None", "tuple[str, ...]" ..."""
    text = value.strip()
    if "None" in kind and text.lower() in ("none", "null", "auto", ""):
        return None
    if kind.startswith("tuple"):
        return tuple(json.loads(text)) if text.startswith("[") else (text,) if text else ()
    try:
        if kind.startswith("bool"):
            return {"true": True, "on": True, "yes": True, "1": True, "false": False, "off": False, "no": False, "0": False}[
                text.lower()
            ]
        return int(text) if kind.startswith("int") else float(text)
    except (KeyError, ValueError):
        raise ConfigError(f'{key} takes {kind.partition(" ")[0]}, not "{value}".') from None


def _known_rows(file: Path) -> list[dict[str, Any]]:
    if file.suffix not in (".json", ".jsonl"):
        raise DataError(f"{file} is neither .json nor .jsonl.", "Rows for training are one of the two: /save talk.jsonl")
    if not file.is_file():
        return []
    text = file.read_text(encoding="utf-8").strip()
    try:
        rows = json.loads(text or "[]") if file.suffix == ".json" else [json.loads(line) for line in text.splitlines()]
    except ValueError as error:
        raise DataError(f"{file} is not what its name says: {error}", "Save to another file.") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) and "conversations" in row for row in rows):
        raise DataError(f"{file} holds other rows than conversations.", "Save to another file.")
    return rows


def _spoken(side: int, events: Iterable[Event]) -> Iterator[Piece]:
    """Reasoning and words; calls are told when the answer has ended."""
    for event in events:
        if event.kind in ("thinking", "words"):
            yield Piece(side=side, kind=event.kind, text=event.text)


def _without(text: str, words: Sequence[str]) -> str:
    for word in words:
        text = text.replace(word, "")
    return text
