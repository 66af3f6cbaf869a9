"""The contract of text generation: prompt ids in, completions out, as they come."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from luthier.errors import EngineError

FinishReason = Literal["stop", "length", "cancelled"]

BASE = "__base__"
"""The name under which every engine answers without any adapter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How the next token is chosen. Defaults are LLaMA-Factory's. do_sample False is greedy (or beams, if num_beams > 1).

    temperature: 0 is greedy.  top_k: 0 is off.  top_p: 1 is off.  min_p: least probability, as a part of the most probable's.
    max_new_tokens: tokens to generate at the most, prompt not counted.
    repetition_penalty: as in transformers (Keskar et al. 2019, arXiv:1909.05858), over prompt and answer; 1 is off.
    presence_penalty, frequency_penalty: as OpenAI defines them, over the answer alone; 0 is off.
    stop: texts at which generation ends; they are cut from the answer.
    seed: makes one request repeat itself, whatever runs beside it; None draws a fresh one.
    logprobs: None for none; n for the log-probability of each token and of the n likeliest in its place.
    logit_bias: (token id, what is added to its logit) as OpenAI defines it.
    grammar: what the answer has to look like, in the Lark dialect of llguidance (%json SCHEMA and <[token id]> included).
    """

    do_sample: bool = True
    temperature: float = 0.95
    top_p: float = 0.7
    top_k: int = 50
    min_p: float = 0.0
    num_beams: int = 1
    max_new_tokens: int = 1024
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    length_penalty: float = 1.0
    stop: tuple[str, ...] = ()
    seed: int | None = None
    logprobs: int | None = None
    logit_bias: tuple[tuple[int, float], ...] = ()
    grammar: str | None = None

    def __post_init__(self) -> None:
        """Raises EngineError for a value outside its range."""
        for name, good, wanted in (
            ("temperature", self.temperature >= 0, "0 (greedy) or more"),
            ("top_p", 0 <= self.top_p <= 1, "between 0 and 1"),
            ("top_k", self.top_k >= 0, "0 (off) or more"),
            ("min_p", 0 <= self.min_p <= 1, "between 0 and 1"),
            ("num_beams", self.num_beams >= 1, "1 or more"),
            ("max_new_tokens", self.max_new_tokens >= 1, "1 or more"),
            ("repetition_penalty", self.repetition_penalty > 0, "greater than 0 (1 is off)"),
            ("presence_penalty", -2 <= self.presence_penalty <= 2, "between -2 and 2"),
            ("frequency_penalty", -2 <= self.frequency_penalty <= 2, "between -2 and 2"),
            ("logprobs", self.logprobs is None or self.logprobs >= 0, "0 or more"),
        ):
            if not good:
                raise EngineError(f"{name} is {getattr(self, name)}.", f"It has to be {wanted}.")

    @property
    def greedy(self) -> bool:
        return not self.do_sample or self.temperature == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenLogprob:
    """One generated token: its natural-log probability under the model itself (before temperature, penalties and cuts).

    top: (token id, log-probability) of the likeliest tokens in its place, best first.
    """

    id: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """One finished answer. index: which of the given prompts. ids: without the stop token. text: special tokens kept."""

    index: int
    ids: tuple[int, ...]
    text: str
    finish_reason: FinishReason
    prompt_tokens: int
    logprobs: tuple[TokenLogprob, ...] | None = None


class Engine(Protocol):
    """A model that answers. adapter: the name of one of its adapters, BASE for none, None for the one that is active."""

    def generate(
        self, prompts: Sequence[Sequence[int]], sampling: Sampling | Sequence[Sampling], *, adapter: str | None = None
    ) -> Iterator[Completion]:
        """Completions in the order in which they finish; batched by length within the memory budget."""
        ...

    def stream(
        self,
        prompt: Sequence[int],
        sampling: Sampling,
        cancelled: Callable[[], bool] = lambda: False,
        *,
        adapter: str | None = None,
    ) -> Iterator[str]:
        """Pieces of the answer's text as they come (never half a character); ends at the stop or when cancelled() is true."""
        ...
