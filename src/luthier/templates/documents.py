"""Plain documents as token ids, for pre-training. In: texts. Out: begin token (where the tokenizer adds one), text, end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from luthier.errors import TemplateError
from luthier.templates.guard import Guard, check_text

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_END_OF_TEXT = ("<|endoftext|>", "<|end_of_text|>")


class Documents:
    """A chat model's eos ends a turn; its vocabulary has another token for the end of a document, which is used then."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, guard: Guard):
        self._guard = guard
        added = tokenizer.backend_tokenizer.encode("", add_special_tokens=True).ids
        self._begin = [tokenizer.bos_token_id] if tokenizer.bos_token_id in added else []
        ends = [guard.control[word] for word in _END_OF_TEXT if word in guard.control]
        self.end_id: int | None = (ends or [tokenizer.eos_token_id])[0]

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        end = [] if self.end_id is None else [self.end_id]
        try:
            encoded = self._guard.encode([self._guard.checked(text) for text in texts])
        except (TypeError, UnicodeEncodeError):
            for number, text in enumerate(texts, 1):
                check_text(text, f"document {number} of {len(texts)}")
            raise TemplateError("a document cannot be tokenised.", "Write the file again as UTF-8.") from None
        return [self._begin + ids + end for ids in encoded]
