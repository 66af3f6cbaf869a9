"""The contract of text generation: prompt ids in, completions out, as they come."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

FinishReason = Literal["stop", "length", "cancelled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How the next token is chosen. Defaults are LLaMA-Factory's. do_sample False is greedy (or beams, if num_beams > 1).

    max_new_tokens: tokens to generate at the most, prompt not counted.
    stop: texts at which generation ends; they are cut from the answer.
    seed: makes one request repeat itself, whatever runs beside it; None draws a fresh one.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """One finished answer. index: which of the given prompts. ids: without the stop token. text: special tokens kept."""

    index: int
    ids: tuple[int, ...]
    text: str
    finish_reason: FinishReason
    prompt_tokens: int


class Engine(Protocol):
    """A model that answers."""

    def generate(self, prompts: Sequence[Sequence[int]], sampling: Sampling) -> Iterator[Completion]:
        """Completions in the order in which they finish; batched by length within the memory budget."""
        ...

    def stream(self, prompt: Sequence[int], sampling: Sampling, cancelled: Callable[[], bool] = lambda: False) -> Iterator[str]:
        """Pieces of the answer's text as they come (never half a character); returns at the stop or when cancelled() is true."""
        ...
