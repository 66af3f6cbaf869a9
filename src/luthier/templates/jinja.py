"""The tokenizer's own chat template (`template: auto`): the vendor's rendering, with exact labels.

In: conversations. Out: turns whose ids, laid end to end, are those of tokenizer.apply_chat_template on the same messages.
Where a message spells a control word, its ids are plain text instead. Never changes the tokenizer or its template.

Rendering by Jinja takes longer than tokenising. A conversation whose texts are ordinary (see opaque.py) looks like any other
with the same roles, so that shape is rendered once with holes for the texts, its spans are proved, and the result is kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from jinja2 import TemplateError as JinjaError

from luthier.errors import TemplateError
from luthier.templates.documents import Documents
from luthier.templates.guard import Guard, check_text
from luthier.templates.messages import MessageWriter, texts_of, with_holes
from luthier.templates.notices import Notices
from luthier.templates.opaque import Ordinary
from luthier.templates.spans import Messages, Render, Span, cut_holes, find_ends, find_spans
from luthier.templates.thinking import DEFAULT_MODE, ThinkingMode, split_generated, split_thinking
from luthier.templates.tools import find_tool_format, recognise
from luthier.templates.tools.base import bare
from luthier.types import Conversation, Message, Turn

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_MAX_LAYOUTS = 4096  # shapes kept; a shape is a few hundred bytes
_OTHER_TEMPLATE = "Name a template of its family, for instance: template: chatml"


@dataclass(frozen=True, slots=True)
class _Layout:
    """A rendered conversation: prompt, answer and tail of each turn, then what is left; numbers are holes for texts.

    answers: for each turn, the index of its message.  closed: whether an end-of-turn closes the last answer.
    """

    sections: tuple[tuple[str | int, ...], ...]
    answers: tuple[int, ...]
    closed: bool

    def fill(self, texts: Sequence[str]) -> tuple[str, list[int]]:
        """The finished text and the characters at which its sections end (all but the last)."""
        parts = ["".join([texts[p] if isinstance(p, int) else p for p in section]) for section in self.sections]
        cuts, at = [], 0
        for part in parts[:-1]:
            at += len(part)
            cuts.append(at)
        return "".join(parts), cuts


class JinjaTemplate:
    """tokenizer: a fast tokenizer with a chat template.

    tool_format: writes tools and calls instead of the chat template; None leaves them to it where it can.
    """

    name = "auto"

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast,
        *,
        default_system: str | None = None,
        thinking: ThinkingMode = DEFAULT_MODE,
        tool_format: str | None = None,
    ):
        self._tokenizer = tokenizer
        self._source: str = tokenizer.get_chat_template()
        self._default_system = default_system
        self._thinking = thinking
        self._notices = Notices(self.name)
        self._options = _options(self._source, thinking)
        self._guard = Guard(tokenizer, [self._source, tokenizer.get_chat_template(tools=[{}])])
        self._documents = Documents(tokenizer, self._guard)
        self._ends = find_ends(self._rendering(None), self._guard, tokenizer.eos_token)
        own_calls = recognise(self._call_probe) if tool_format is None else None
        self._tools = find_tool_format(tool_format or (own_calls.name if own_calls else "default"))
        self._writer = MessageWriter(
            self._source,
            self._guard,
            default_system=default_system,
            thinking=thinking,
            tool_format=self._tools,
            own_calls=own_calls,
            notices=self._notices,
        )
        self._ordinary = Ordinary.of(self._source)
        self._layouts: dict[tuple[Any, ...], _Layout] = {}
        ends = [self._guard.control[word] for word in sorted(self._ends.tokens | self._ends.openers)]
        stops = [i for i in (tokenizer.eos_token_id, *ends, self._documents.end_id) if i is not None]
        self.stop_token_ids: tuple[int, ...] = tuple(dict.fromkeys(stops))

    # --- what the rest of the program asks for -----------------------------------------------------------------------

    def encode(self, conversation: Conversation) -> list[Turn]:
        return self.encode_batch([conversation])[0]

    def encode_batch(self, conversations: Sequence[Conversation]) -> list[list[Turn]]:
        """encode() of many conversations in one call of the tokenizer."""
        layouts = [self._layout(conversation) for conversation in conversations]
        filled = [layout.fill(texts) for _, layout, texts in layouts]
        parts = self._encode_cut(conversations, [text for text, _ in filled], [cuts for _, cuts in filled])
        return [self._turns(prepared, layout, ids) for (prepared, layout, _), ids in zip(layouts, parts, strict=True)]

    def encode_prompt(self, conversation: Conversation) -> list[int]:
        return self._encode_cut([conversation], [self._finished(conversation, True)], [[]])[0][0]

    def encode_texts(self, texts: Sequence[str]) -> list[list[int]]:
        return self._documents.encode(texts)

    def render(self, conversation: Conversation, *, add_generation_prompt: bool = False) -> str:
        return self._guard.readable(self._finished(conversation, add_generation_prompt))

    def parse(self, text: str, tools: Sequence[Mapping[str, Any]] = ()) -> Message:
        thinking, rest = split_generated(text.removeprefix(self._ends.lead))
        content, calls = self._tools.read(rest, [bare(tool) for tool in tools]) if tools or self._tools.marked else (rest, ())
        return Message(role="assistant", content=content, thinking=thinking, tool_calls=calls)

    def describe(self) -> Mapping[str, Any]:
        return {
            "template": self.name,
            "enable_thinking": self._thinking.enabled,
            "preserve_thinking": self._thinking.preserve,
            "default_system": self._default_system,
            "tool_format": self._tools.name,
        }

    def jinja(self) -> str:
        return self._source

    # --- how it is done ----------------------------------------------------------------------------------------------

    def _layout(self, conversation: Conversation) -> tuple[Conversation, _Layout, Sequence[str]]:
        """The conversation as it is written, its layout, and the texts for the holes of that."""
        try:
            conversation = self._writer.prepare(conversation)
            texts = texts_of(conversation)
            if not self._is_ordinary(conversation, texts):
                sections, answers, closed = self._analyse(conversation)
                return conversation, _Layout(tuple((text,) for text in sections), answers, closed), ()
            shape = tuple((message.role, message.thinking is not None) for message in conversation.messages)
            layout = self._layouts.get(shape)
            if layout is None:
                sections, answers, closed = self._analyse(with_holes(conversation))
                layout = _Layout(tuple(map(cut_holes, sections)), answers, closed)
                if len(self._layouts) < _MAX_LAYOUTS:
                    self._layouts[shape] = layout
            return conversation, layout, texts
        except TemplateError as error:
            raise _placed(error, conversation) from error

    def _is_ordinary(self, conversation: Conversation, texts: Sequence[str]) -> bool:
        if self._ordinary is None or conversation.tools or any(message.tool_calls for message in conversation.messages):
            return False
        answers = (message.content for message in conversation.messages if message.role == "assistant")
        return all(map(self._ordinary, texts)) and not any("<think>" in answer for answer in answers)

    def _analyse(self, conversation: Conversation) -> tuple[list[str], tuple[int, ...], bool]:
        """Finished text in sections, the answers' messages, and whether the last answer is closed: see _Layout."""
        messages = self._writer.messages(conversation)
        render = self._rendering(self._writer.tools(conversation))
        text, spans = find_spans(render, self._guard, self._ends, messages)
        self._tell(text, spans, messages, conversation)
        cuts = [at for span in spans for at in (span.start, span.end, span.tail)]
        sections = [self._guard.finish(text[start:end]) for start, end in pairwise([0, *cuts, len(text)])]
        if "".join(sections) != self._guard.finish(text):
            raise TemplateError("an answer begins or ends inside a control word of the chat template.", _OTHER_TEMPLATE)
        closed = not spans or any(match.end() == spans[-1].end for match in self._guard.words_in(text))
        return sections, tuple(span.message for span in spans), closed

    def _turns(self, conversation: Conversation, layout: _Layout, parts: Sequence[Sequence[int]]) -> list[Turn]:
        turns = []
        for k, i in enumerate(layout.answers):
            weight = conversation.messages[i].weight
            prompt, answer, tail = (tuple(part) for part in parts[3 * k : 3 * k + 3])
            turns.append(Turn(prompt=prompt, answer=answer, tail=tail, weight=1.0 if weight is None else weight))
        rest = tuple(parts[-1])
        if not turns or conversation.messages[-1].role != "assistant":
            return [*turns, Turn(prompt=rest, answer=())]
        last, eos = turns[-1], self._tokenizer.eos_token_id
        if not layout.closed and eos is not None:
            self._notices.warn("open", f"it does not end the last answer: {self._tokenizer.eos_token} is added and learned.")
            last = replace(last, answer=(*last.answer, eos))
        turns[-1] = replace(last, tail=last.tail + rest)
        return turns

    def _encode_cut(self, origins: Sequence[Conversation], texts: list[str], cuts: list[list[int]]) -> list[list[list[int]]]:
        try:
            return self._guard.encode_cut(texts, cuts)
        except (TypeError, UnicodeEncodeError):
            for conversation in origins:
                for text in texts_of(conversation):
                    check_text(text, conversation.origin)
            raise

    def _rendering(self, tools: list[dict[str, Any]] | None) -> Render:
        """render(messages, generation_prompt) with the vendor's template; its refusals become TemplateError."""

        def render(messages: Messages, generation_prompt: bool) -> str:
            try:
                return self._tokenizer.apply_chat_template(
                    list(messages), tools=tools, tokenize=False, add_generation_prompt=generation_prompt, **self._options
                )
            except (JinjaError, TypeError, IndexError, KeyError, AttributeError, ValueError) as error:
                raise TemplateError(
                    f"the tokenizer's chat template refuses this conversation: {error}",
                    "Change the conversation, or name another template.",
                ) from error

        return render

    def _finished(self, conversation: Conversation, generation_prompt: bool) -> str:
        try:
            prepared = self._writer.prepare(conversation)
            text = self._rendering(self._writer.tools(prepared))(self._writer.messages(prepared), generation_prompt)
        except TemplateError as error:
            raise _placed(error, conversation) from error
        return self._guard.finish(text)

    def _tell(self, text: str, spans: Sequence[Span], messages: Messages, conversation: Conversation) -> None:
        """Says what the vendor's template leaves out of a conversation; nothing is dropped in silence."""
        last = len(messages) - 1
        for i, message in enumerate(messages):
            thought, words = split_thinking(str(message["content"] or ""))
            reasoning = str(message.get("reasoning_content") or message.get("thinking") or thought or "").strip()
            if reasoning and reasoning not in text and (i == last or self._thinking.preserve):
                whose = "the last answer" if i == last else "earlier answers although preserve_thinking is set"
                self._notices.warn(whose, f"it leaves out the reasoning of {whose}. A named template may keep it.")
            words = words.rpartition("</think>")[2].strip()
            if words and words not in text and words.replace("\n", "\\n") not in text:
                kind = "answers that call tools" if message.get("tool_calls") else f"messages of the role {message['role']}"
                self._notices.warn(
                    kind, f"it leaves out the words of {kind} (first seen: {conversation.origin or 'a message'})."
                )
        if any(bare(tool)["name"] not in text for tool in conversation.tools):
            self._notices.warn("tools", "it leaves out the descriptions of tools.")
        if spans and spans[-1].message == last and not spans[-1].asked:
            self._notices.warn("asked", _not_asked(self._ends.header))

    def _call_probe(self, messages: Messages, tools: list[dict[str, Any]]) -> str | None:
        """The text of the last answer, its end-of-turn removed; None where the template leaves it out or writes two."""
        text, spans = find_spans(self._rendering(tools), self._guard, self._ends, messages)
        if not spans or spans[-1].tail != len(text):
            return None
        answer = text[spans[-1].start : spans[-1].end]
        last = self._guard.words_in(answer)[-1:]
        closed = last and last[0].end() == len(answer) and last[0][0] in self._ends.tokens
        return answer[: last[0].start()] if closed else answer


def _not_asked(header: str) -> str:
    return (
        f"it asks for an answer with {header!r}, but answers in the data do not go on from there. "
        "Set enable_thinking to what the data holds, or name a template, so that the model is asked as it was trained."
    )


def _placed(error: TemplateError, conversation: Conversation) -> TemplateError:
    """The error with the place of the conversation in front."""
    return TemplateError(f"{conversation.origin}: {error.message}", error.remedy) if conversation.origin else error


def _options(source: str, thinking: ThinkingMode) -> dict[str, Any]:
    """The variables by which vendors' templates know the thinking mode; only those that this template asks for."""
    options: dict[str, Any] = {}
    if thinking.enabled is not None:
        options |= {name: thinking.enabled for name in ("enable_thinking", "open_thinking") if name in source}
        if "thinking is defined" in source or "thinking is not defined" in source or "not thinking is defined" in source:
            options.setdefault("thinking", thinking.enabled)
    if thinking.preserve:
        options |= {name: value for name, value in (("preserve_thinking", True), ("clear_thinking", False)) if name in source}
    return options
