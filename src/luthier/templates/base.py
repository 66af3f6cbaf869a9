"""The contract of a chat template: messages in, token ids out, with the assistant's own words told apart.

A rendered conversation is a list of turns. Laid end to end, prompt + answer + tail of all turns are the ids of the whole
conversation, equal to the vendor's rendering where there is one.

    turn 1: prompt  <|im_start|>user\\nHi<|im_end|>\\n<|im_start|>assistant\\n      never learned (unless train_on_prompt)
            answer  Hello!<|im_end|>                                              learned: the words and the end-of-turn
            tail    \\n                                                            never learned
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from luthier.types import Conversation, Message, Turn


class Template(Protocol):
    """How one model family writes a conversation. Immutable; made by templates.find_template.

    name: "auto" or the family's name.
    stop_token_ids: generation ends at any of these.
    """

    name: str
    stop_token_ids: tuple[int, ...]

    def encode(self, conversation: Conversation) -> list[Turn]:
        """The whole conversation as turns. Text of a message never becomes a special token.

        Raises TemplateError for a conversation that this template cannot write, naming conversation.origin.
        """
        ...

    def encode_batch(self, conversations: Sequence[Conversation]) -> list[list[Turn]]:
        """encode of many conversations at once; faster, the same ids."""
        ...

    def encode_prompt(self, conversation: Conversation) -> list[int]:
        """Ids of a conversation that waits for an answer, up to the generation header and the thinking prefill, if any."""
        ...

    def encode_texts(self, texts: Sequence[str]) -> list[list[int]]:
        """Plain documents for pre-training: bos where the tokenizer adds one, plain tokens of the text, end-of-text."""
        ...

    def parse(self, text: str, tools: Sequence[Mapping[str, Any]] = ()) -> Message:
        """A generated answer (special tokens still in it, end-of-turn removed) back to content, thinking and tool calls."""
        ...

    def render(self, conversation: Conversation, *, add_generation_prompt: bool = False) -> str:
        """The conversation as text, for people to read."""
        ...

    def describe(self) -> Mapping[str, Any]:
        """Name, thinking mode, default system ... as plain JSON: kept in checkpoints so that chat and export follow it."""
        ...

    def jinja(self) -> str:
        """A Jinja chat template that renders the same text: saved with the tokenizer of checkpoints and exports."""
        ...
