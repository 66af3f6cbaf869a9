"""Ollama's Modelfile: where the model is, its chat template in Go's template language, and where answers end.

Enters: a Template. Leaves: the file. The Go template is put together from what stands around each message in the rendering
of a conversation, and proved on others; where that cannot be done (Ollama then reads the template in the model) it says so.
Source: Ollama's docs/modelfile.md and docs/template.md.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from luthier.errors import TemplateError
from luthier.types import Conversation, Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from luthier.templates.base import Template

log = logging.getLogger(__name__)

NAME = "Modelfile"
MARKS = ("§system§", "§first§", "§answer§", "§second§")
CONTEXT = 4096
"""Tokens of context that Ollama reserves memory for, unless the model has fewer."""


def write_modelfile(
    folder: Path, source: str, tokenizer: PreTrainedTokenizerBase, template: Template, context: int, adapter: str | None = None
) -> None:
    """source: what FROM names, relative to folder.  adapter: the file of a LoRA adapter, relative to folder."""
    lines = [f"FROM {source}"] + ([f"ADAPTER {adapter}"] if adapter else [])
    pieces = find_pieces(template, tokenizer.bos_token or "")
    if pieces is None:
        log.warning("no Ollama template could be made of the template %s; Ollama takes the one in the model.", template.name)
    else:
        lines.append(f'TEMPLATE """{pieces.go()}"""')
    lines += [f'PARAMETER stop "{_quoted(tokenizer.decode([number]))}"' for number in template.stop_token_ids]
    lines.append(f"PARAMETER num_ctx {min(context, CONTEXT)}")
    (folder / NAME).write_text("\n".join(lines) + "\n", encoding="utf-8")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pieces:
    """What a template writes around the messages.

    opening: before the first user message where there is no system message.  asked: from the last user message to the answer;
    answered: the same where an answer is already there.
    """

    before_system: str
    after_system: str
    opening: str
    before_user: str
    asked: str
    answered: str
    after_answer: str

    def render(self, messages: tuple[Message, ...]) -> str:
        """What the Go template gives for these messages, of which the last is the user's."""
        system, rest = (messages[0].content, messages[1:]) if messages[0].role == "system" else ("", messages)
        text = self.before_system + system + self.after_system if system else self.opening
        for index, message in enumerate(rest):
            if message.role == "user":
                text += self.before_user + message.content + (self.asked if index == len(rest) - 1 else self.answered)
            else:
                text += message.content + self.after_answer
        return text

    def go(self) -> str:
        """The same in Go's template language, for Ollama's .System and .Messages."""
        last = "eq (len (slice $.Messages $i)) 1"
        if self.asked == self.answered:
            after = _literal(self.asked)
        else:
            after = f"{{{{ if {last} }}}}{_literal(self.asked)}{{{{ else }}}}{_literal(self.answered)}{{{{ end }}}}"
        return (
            f"{{{{ if .System }}}}{_literal(self.before_system)}{{{{ .System }}}}{_literal(self.after_system)}"
            f"{{{{ else }}}}{_literal(self.opening)}{{{{ end }}}}{{{{ range $i, $_ := .Messages }}}}"
            f'{{{{ if eq .Role "user" }}}}{_literal(self.before_user)}{{{{ .Content }}}}{after}'
            f'{{{{ else if eq .Role "assistant" }}}}{{{{ .Content }}}}{_literal(self.after_answer)}{{{{ end }}}}{{{{ end }}}}'
        )


def find_pieces(template: Template, bos: str) -> Pieces | None:
    """What template writes around messages; None where that is not the same for every message. bos: Ollama adds it itself."""
    system, first, answer, second = MARKS
    try:
        whole = _render(template, bos, system, first, answer, second)
        alone = _render(template, bos, None, first)
    except TemplateError:
        return None
    if any(whole.count(mark) != 1 for mark in MARKS) or alone.count(first) != 1:
        return None
    before_system, rest = whole.split(system)
    after_system, rest = rest.split(first)
    answered, rest = rest.split(answer)
    after_answer, asked = rest.split(second)
    opening = alone.split(first)[0]
    before_user = _common_ending(_common_ending(after_system, after_answer), opening)
    cut = len(before_user)
    pieces = Pieces(
        before_system=before_system,
        after_system=after_system[: len(after_system) - cut],
        opening=opening[: len(opening) - cut],
        before_user=before_user,
        asked=asked,
        answered=answered,
        after_answer=after_answer[: len(after_answer) - cut],
    )
    return pieces if _is_right(pieces, template, bos) else None


def _is_right(pieces: Pieces, template: Template, bos: str) -> bool:
    """Whether the pieces give the template's own text, with and without a system message, for one to three questions."""
    words = ("a b", "c", "d\ne", "f", "g")
    return all(
        pieces.render(_messages(system, *words[:count])) == _render(template, bos, system, *words[:count])
        for system in (None, "s t")
        for count in (1, 3, 5)
    )


def _messages(system: str | None, *words: str) -> tuple[Message, ...]:
    turns = [Message(role="assistant" if index % 2 else "user", content=word) for index, word in enumerate(words)]
    return (*([Message(role="system", content=system)] if system else []), *turns)


def _render(template: Template, bos: str, system: str | None, *words: str) -> str:
    conversation = Conversation(messages=_messages(system, *words))
    return template.render(conversation, add_generation_prompt=True).removeprefix(bos)


def _common_ending(a: str, b: str) -> str:
    count = next((i for i, (x, y) in enumerate(zip(a[::-1], b[::-1])) if x != y), min(len(a), len(b)))
    return a[len(a) - count :]


def _literal(text: str) -> str:
    """Text in a Go template: {{ begins an action there, and three quotes end the Modelfile's string."""
    return text.replace("{{", '{{ "{{" }}').replace('"""', '{{ "\\"\\"\\"" }}')


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
