"""Answers that cannot be other than asked for: a grammar says before each token which ones may come.

Enters: a grammar in the Lark dialect of llguidance, a tokenizer. Leaves: the tokens that are allowed next, as a mask.
Never: changes a probability among those that are allowed.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from luthier.errors import EngineError

if TYPE_CHECKING:
    from llguidance import LLMatcher
    from transformers import PreTrainedTokenizerBase

COMPACT = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
"""How JSON is spaced (as Python's json.dumps): one way, so that no model can go on writing blanks for ever."""


class Guide:
    """One answer's way through its grammar. error: why it cannot go on (too complex a grammar); None while it can."""

    def __init__(self, matcher: LLMatcher):
        self._matcher = matcher
        self.error: EngineError | None = None

    def allowed(self, vocabulary: int) -> Tensor:
        """Which of the vocabulary's tokens may come now, bool (V,); all of them after an error, which ends this answer."""
        bits = np.unpackbits(np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8), bitorder="little")
        if self._failed():
            return torch.ones(vocabulary, dtype=torch.bool)
        mask = np.zeros(vocabulary, dtype=bool)  # a model's head may be wider than its tokenizer
        mask[: len(bits)] = bits[:vocabulary]
        return torch.from_numpy(mask)

    def take(self, id: int) -> bool:
        """The token that was chosen; whether the answer is whole with it."""
        self._matcher.consume_token(id)
        return not self._failed() and self._matcher.is_stopped()

    def _failed(self) -> bool:
        if self.error is None and self._matcher.is_error():
            self.error = EngineError(f"the grammar cannot go on: {_reason(self._matcher.get_error())}")
        return self.error is not None


class Guides:
    """Makes Guides for one tokenizer; what that costs (up to a second for a large vocabulary) is paid at the first one."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, stop_ids: Sequence[int]):
        self._tokenizer, self._stop_ids = tokenizer, list(stop_ids)
        self._words: Any = None
        self._making = threading.Lock()

    def make(self, grammar: str) -> Guide:
        """Raises EngineError for a grammar or a JSON schema that cannot be followed, with the reason."""
        from llguidance import LLMatcher

        matcher = LLMatcher(self._ready(), LLMatcher.grammar_from_lark(grammar), log_level=0)
        if matcher.is_error():
            raise EngineError(f"this grammar cannot be followed: {_reason(matcher.get_error())}")
        return Guide(matcher)

    def bytes_of(self, id: int) -> bytes:
        """The bytes that a token stands for; a part of a character for some."""
        return self._ready().decode_bytes([id])

    def _ready(self) -> Any:
        from llguidance.hf import from_tokenizer

        with self._making:
            if self._words is None:
                self._words = from_tokenizer(self._tokenizer, eos_token=self._stop_ids or None)
            return self._words


def _reason(text: str) -> str:
    """What is wrong, without the copy of the grammar that llguidance adds ("   1 | start: ...")."""
    lines = [line.strip() for line in text.splitlines() if not line.strip().startswith("^") and " | " not in line]
    return " ".join(line for line in lines if line)
