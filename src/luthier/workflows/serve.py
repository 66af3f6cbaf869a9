"""A model made ready to answer requests: the base and its adapters by name, their templates, one engine for all.

Enters: the config. Leaves: a Service, which renders, answers, embeds and scores. Never: knows HTTP.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from luthier.config import Config
from luthier.engines.base import BASE
from luthier.engines.driver import Driver
from luthier.engines.hf import HFEngine
from luthier.errors import ConfigError
from luthier.hub import resolve_adapter, resolve_model
from luthier.models.heads import HEAD_FILE, ValueHead
from luthier.registry import nearest
from luthier.templates import find_template
from luthier.templates.base import Template
from luthier.types import Conversation
from luthier.workflows.answer_stream import AnswerReader
from luthier.workflows.answering import Answerer, add_adapter, load_answerer, load_words, sampling_of, settle
from luthier.workflows.constrain import Grammarian
from luthier.workflows.thinking_stream import CLOSING, OPENING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One of the models that can be asked for. adapter: its name in the engine, None for the one that is active.

    root: what it was loaded from.  parent: the id of its base, None for the base itself.
    """

    id: str
    adapter: str | None
    config: Config
    root: str
    parent: str | None = None


class Service:
    """models: by id, the one that answers by default first.  created: seconds since 1970."""

    def __init__(self, config: Config):
        """Loads everything. Raises LuthierError where something is missing or cannot be served together."""
        asked = config if config.model_name_or_path or config.adapter_name_or_path else _starter(config)
        config = settle(asked)
        further = dict(_named(entry, config) for entry in config.api_adapters or ())
        if further and not config.adapter_name_or_path:
            first = next(iter(further.values()))
            answerer = _load(config.model_copy(update={"adapter_name_or_path": [str(first)]}))
        else:
            answerer = _load(config)
        self.answerer, self.created = answerer, int(time.time())
        self.sampling = sampling_of(config)
        self.models = self._find_models(asked, config, further)
        self._aliases = self._find_aliases(config)
        self._templates: dict[tuple[str, bool | None], Template] = {}
        self._rendering = threading.Lock()  # templates and tokenizers keep caches that know no threads
        stops = {id for model in self.models.values() for id in self.template(model).stop_token_ids}
        self.engine = HFEngine(answerer.net, self.tokenizer, sorted(stops))
        self.driver = Driver(self.engine)
        self.grammarian = Grammarian(self.tokenizer)
        self._head = _find_head(config, answerer)

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        return self.answerer.tokenizer

    @property
    def width(self) -> int:
        """Numbers of an embedding."""
        net = self.answerer.net
        inner = net.get_base_model() if hasattr(net, "get_base_model") else net
        return inner.config.get_text_config().hidden_size

    @property
    def can_score(self) -> bool:
        return self._head is not None

    def model(self, name: str | None) -> Model:
        """The model of this id or other name; None: the default. Raises ConfigError for an unknown one."""
        if name is None:
            return next(iter(self.models.values()))
        id = self._aliases.get(name, name)
        if id not in self.models:
            close = nearest(name, list(self.models))
            hint = f'Did you mean "{close[0]}"? ' if close else ""
            raise ConfigError(f'there is no model "{name}" here.', f"{hint}There are: {', '.join(self.models)}")
        return self.models[id]

    # ---- words ----

    def template(self, model: Model, thinking: bool | None = None) -> Template:
        """The template of a model. thinking: enable_thinking for one request; None as the model was trained or configured."""
        key = model.id, thinking
        if key not in self._templates:
            config = model.config if thinking is None else model.config.model_copy(update={"enable_thinking": thinking})
            self._templates[key] = find_template(config, self.tokenizer)
        return self._templates[key]

    def render(self, model: Model, conversation: Conversation, thinking: bool | None = None) -> list[int]:
        """The prompt of a conversation. Raises TemplateError for one that the template cannot write."""
        with self._rendering:
            return self.template(model, thinking).encode_prompt(conversation)

    def encode(self, text: str, *, special: bool = True) -> list[int]:
        """Plain text as ids; control words in it count as such. special: with what the tokenizer puts around a text."""
        with self._rendering:
            return self.tokenizer.encode(text, add_special_tokens=special)

    def decode(self, ids: Sequence[int]) -> str:
        return self.tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)

    def reasoning(self, prompt: Sequence[int]) -> str:
        """Whether an answer to this prompt begins inside the reasoning ("opened"), behind it ("none"), or may begin it."""
        ending = self.decode(prompt[-8:]).rstrip()
        return "opened" if ending.endswith(OPENING) else "none" if ending.endswith(CLOSING) else "possible"

    def reasons(self, model: Model, thinking: bool | None = None) -> bool:
        """Whether enable_thinking was set for this model, or for one request; left alone, nobody counts on reasoning."""
        return self.template(model, thinking).describe()["enable_thinking"] is True

    def reader(self, model: Model, prompt: Sequence[int], tools: Sequence[Mapping[str, Any]]) -> AnswerReader:
        """What tells an answer to this prompt apart."""
        return AnswerReader(
            opened=self.reasoning(prompt) == "opened",
            hidden=self.tokenizer.all_special_tokens,
            tools=tools,
            tool_format=self.tool_format(model),
        )

    def tool_format(self, model: Model) -> str:
        return str(self.template(model).describe()["tool_format"])

    # ---- beside generation ----

    def embed(self, model: Model, prompts: Sequence[Sequence[int]]) -> list[list[float]]:
        """Each text's mean last hidden state, of length 1, (H,)."""
        found = {}
        for index, hidden_TH in self.engine.hidden_states(prompts, adapter=model.adapter):
            mean_H = hidden_TH.mean(0)
            found[index] = (mean_H / mean_H.norm().clamp(min=1e-12)).tolist()
        return [found[index] for index in range(len(prompts))]

    def score(self, model: Model, prompts: Sequence[Sequence[int]]) -> list[float]:
        """What the reward model's head says at the last token of each text. Raises ConfigError where there is no head."""
        if self._head is None:
            raise ConfigError(f"{model.id} has no {HEAD_FILE}: it is no reward model.", "Serve what stage rm has trained.")
        import torch

        found = {}
        with torch.no_grad():
            for index, hidden_TH in self.engine.hidden_states(prompts, adapter=model.adapter):
                found[index] = self._head(hidden_TH[-1]).item()
        return [found[index] for index in range(len(prompts))]

    def close(self) -> None:
        self.driver.close()

    # ---- how it is made ----

    def _find_models(self, asked: Config, config: Config, further: Mapping[str, Path]) -> dict[str, Model]:
        """The tuned model, the base, further adapters; a base or adapters that peft cannot switch in a batch are refused."""
        base = _shown(config.model_name_or_path or "")
        tuned = config.adapter_name_or_path
        plain = settle(asked.model_copy(update={"model_name_or_path": config.model_name_or_path, "adapter_name_or_path": None}))
        models: list[Model] = []
        if tuned:
            name = _free(Path(tuned[-1]).name, [base])
            models.append(Model(id=name, adapter=None, config=config, root=tuned[-1], parent=base))
        if not (tuned or further) or self._switches():
            adapter = BASE if tuned or further else None
            models.append(Model(id=base, adapter=adapter, config=plain, root=config.model_name_or_path or ""))
        elif further:
            raise ConfigError("peft cannot switch this kind of adapter within a batch.", "Serve one: adapter_name_or_path.")
        else:
            log.warning("the base is not served beside the adapter: peft cannot switch this kind within a batch.")
        for number, (name, folder) in enumerate(further.items()):
            key = "default" if number == 0 and not tuned else f"adapter_{number}"
            if key != "default":
                add_adapter(self.answerer.net, folder, key)
            own = settle(asked.model_copy(update={"adapter_name_or_path": [str(folder)]}))
            name = _free(name, [model.id for model in models])
            models.append(Model(id=name, adapter=key, config=own, root=str(folder), parent=base))
        return {model.id: model for model in models}

    def _switches(self) -> bool:
        """Whether rows of one batch can have the adapter or not, tried on two tokens."""
        import torch

        net = self.answerer.net
        ids = torch.zeros(2, 1, dtype=torch.long, device=net.get_base_model().get_input_embeddings().weight.device)
        try:
            with torch.no_grad():
                net(input_ids=ids, adapter_names=[BASE, "default"])
        except (ValueError, TypeError, NotImplementedError, AttributeError) as error:
            log.debug("%s", error)
            return False
        return True

    def _find_aliases(self, config: Config) -> dict[str, str]:
        default = next(iter(self.models))
        aliases = {model.root: model.id for model in self.models.values()}
        return aliases | dict.fromkeys(config.api_model_name or (), default)


def _starter(config: Config) -> Config:
    return config.model_copy(update={"model_name_or_path": "starter"})


def _load(config: Config) -> Answerer:
    return load_answerer(config, *load_words(config))


def _named(entry: str, config: Config) -> tuple[str, Path]:
    """("news=saves/news") -> ("news", its folder); without a name it is the folder's."""
    name, equals, folder = entry.partition("=")
    path = resolve_adapter(folder if equals else entry, config)
    return (name if equals else path.name), path


def _shown(name: str) -> str:
    """A hub id as it is, a folder by its last name."""
    return Path(name).name if Path(name).expanduser().is_dir() else name


def _free(name: str, taken: Sequence[str]) -> str:
    number, wanted = 2, name
    while name in taken:
        name, number = f"{wanted}-{number}", number + 1
    return name


def _find_head(config: Config, answerer: Answerer) -> ValueHead | None:
    folders = [resolve_adapter(name, config) for name in config.adapter_name_or_path or ()]
    folders.append(resolve_model(config.model_name_or_path or "", config))
    folder = next((folder for folder in folders if (folder / HEAD_FILE).is_file()), None)
    if folder is None:
        if config.stage == "rm":
            raise ConfigError(f"stage is rm, but no {HEAD_FILE} lies in {', '.join(map(str, folders))}.")
        return None
    net = answerer.net
    inner = net.get_base_model() if hasattr(net, "get_base_model") else net
    head = ValueHead(inner.config.get_text_config().hidden_size).to(inner.get_input_embeddings().weight.device)
    head.load(folder)
    return head
