"""The tokenizer's own chat template (`template: auto`): the vendor's rendering, with exact labels.

In: conversations. Out: turns whose ids, laid end to end, are those of tokenizer.apply_chat_template on the same messages.
Where a message spells a control word, its ids are plain text instead. Never changes the tokenizer or its template.

Rendering by Jinja takes longer than tokenising. A conversation whose texts are ordinary (see opaque.py) looks like any other
with the same roles, so that shape is rendered once with holes for the texts, its spans are proved, and the result is kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from jinja2 import TemplateError as JinjaError

from luthier.errors import TemplateError

from luthier.templates.base import Turn
from luthier.templates.guard import HOLE, Guard, check_text, index_char
from luthier.templates.notices import Notices
from luthier.templates.opaque import Ordinary
from luthier.templates.spans import Ends, cut_holes, find_ends, find_spans
from luthier.templates.thinking import THINK, ThinkingMode, split_generated, split_thinking
from luthier.templates.tools import recognise
from luthier.templates.tools.base import ToolFormat, bare, map_texts, wrapped
from luthier.types import Conversation, Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_MAX_LAYOUTS = 4096  # shapes kept; a shape is a few hundred bytes


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
    """tokenizer: a fast tokenizer with a chat template.  tool_format: how generated tool calls are read; found out if None."""

    name = "auto"

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast,
        *,
        default_system: str | None = None,
        thinking: ThinkingMode = ThinkingMode(),
        tool_format: ToolFormat | None = None,
    ):
        self._tokenizer = tokenizer
        self._source: str = tokenizer.get_chat_template()
        self._default_system = default_system
        self._thinking = thinking
        self._notices = Notices(self.name)
        self._options = _options(self._source, thinking)
        self._guard = Guard(tokenizer, [self._source])
        self._ends: Ends = find_ends(self._rendering(()), self._guard, tokenizer.eos_token)
        self._ordinary = Ordinary.of(self._source)
        self._layouts: dict[tuple[Any, ...], _Layout] = {}
        self._tools = tool_format or recognise(self._write_probe)
        ends = [
            self._guard.control[word] for word in sorted(self._ends.tokens | self._ends.openers) if word in self._guard.control
        ]
        eos = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
        self.stop_token_ids: tuple[int, ...] = tuple(dict.fromkeys(eos + ends))

    # --- what the rest of the program asks for -----------------------------------------------------------------------

    def encode(self, conversation: Conversation) -> list[Turn]:
        return self.encode_batch([conversation])[0]

    def encode_batch(self, conversations: Sequence[Conversation]) -> list[list[Turn]]:
        """encode() of many conversations in one call of the tokenizer."""
        prepared = [self._prepare(conversation) for conversation in conversations]
        layouts = [self._layout(conversation) for conversation in prepared]
        filled = [layout.fill(texts) for layout, texts in layouts]
        parts = self._encode_cut(conversations, [text for text, _ in filled], [cuts for _, cuts in filled])
        return [
            self._turns(conversation, layout, ids)
            for conversation, (layout, _), ids in zip(prepared, layouts, parts, strict=True)
        ]

    def encode_prompt(self, conversation: Conversation) -> list[int]:
        text = self._guard.finish(self._render_text(self._prepare(conversation), True))
        return self._encode_cut([conversation], [text], [[]])[0][0]

    def render(self, conversation: Conversation, *, add_generation_prompt: bool = False) -> str:
        return self._guard.readable(self._guard.finish(self._render_text(self._prepare(conversation), add_generation_prompt)))

    def parse(self, text: str, tools: Sequence[Mapping[str, Any]] = ()) -> Message:
        thinking, rest = split_generated(text)
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

    def _prepare(self, conversation: Conversation) -> Conversation:
        """The conversation as it is to be written: default system message, reasoning told apart, or left out on request."""
        messages = list(conversation.messages)
        if not messages:
            raise TemplateError(f"{conversation.origin or 'a conversation'} has no messages.", "Remove it from the dataset.")
        if self._default_system and messages[0].role != "system":
            messages.insert(0, Message(role="system", content=self._default_system))
        for i, message in enumerate(messages):
            if message.role == "assistant":
                messages[i] = self._settle_thinking(message)
        return replace(conversation, messages=tuple(messages))

    def _settle_thinking(self, message: Message) -> Message:
        if message.thinking is None and "<think>" not in message.content:
            return message
        thinking, content = (message.thinking, message.content)
        if thinking is None and (self._knows_thinking or self._thinking.enabled is False):
            thinking, content = split_thinking(message.content)
        if thinking is not None and self._thinking.enabled is False:
            if thinking.strip():
                self._notices.warn("off", "enable_thinking is false: the reasoning in the data is left out.")
            thinking = None
        return replace(message, thinking=thinking, content=content)

    @property
    def _knows_thinking(self) -> bool:
        return "reasoning_content" in self._source or "thinking" in _message_keys(self._source)

    def _layout(self, conversation: Conversation) -> tuple[_Layout, Sequence[str]]:
        texts = _texts(conversation)
        if not self._is_ordinary(conversation, texts):
            for text in texts:
                check_text(text, conversation.origin)
            return self._analyse(conversation, self._hf_messages(conversation)), ()
        shape = tuple((message.role, message.thinking is not None) for message in conversation.messages)
        layout = self._layouts.get(shape)
        if layout is None:
            layout = self._analyse(conversation, self._hf_messages(_with_holes(conversation)))
            if len(self._layouts) < _MAX_LAYOUTS:
                self._layouts[shape] = layout
        return layout, texts

    def _is_ordinary(self, conversation: Conversation, texts: Sequence[str]) -> bool:
        if self._ordinary is None or conversation.tools or any(message.tool_calls for message in conversation.messages):
            return False
        return all(map(self._ordinary, texts)) and not any(
            "<think>" in m.content for m in conversation.messages if m.role == "assistant"
        )

    def _analyse(self, conversation: Conversation, messages: Sequence[Mapping[str, Any]]) -> _Layout:
        try:
            text, spans = find_spans(self._rendering(conversation.tools), self._guard, self._ends, messages)
        except TemplateError as error:
            where = f"{conversation.origin}: " if conversation.origin else ""
            raise TemplateError(f"{where}{error.message}", error.remedy) from None
        self._tell_dropped(text, messages)
        cuts = [at for span in spans for at in (span.start, span.end, span.tail)]
        bounds = [0, *cuts, len(text)]
        sections = [self._guard.finish(text[start:end]) for start, end in zip(bounds, bounds[1:])]
        if "".join(sections) != self._guard.finish(text):
            raise TemplateError(
                f"{conversation.origin or 'a conversation'}: an answer begins or ends inside a control word of the chat template.",
                "Name a template of its family, for instance: template: chatml",
            )
        closed = not spans or any(match.end() == spans[-1].end for match in self._guard.words_in(text))
        return _Layout(tuple(map(cut_holes, sections)), tuple(span.message for span in spans), closed)

    def _turns(self, conversation: Conversation, layout: _Layout, parts: Sequence[Sequence[int]]) -> list[Turn]:
        turns = []
        for k, i in enumerate(layout.answers):
            weight = conversation.messages[i].weight
            prompt, answer, tail = (tuple(part) for part in parts[3 * k : 3 * k + 3])
            turns.append(Turn(prompt=prompt, answer=answer, tail=tail, weight=1.0 if weight is None else weight))
        rest = tuple(parts[-1])
        if conversation.messages[-1].role != "assistant":
            return [*turns, Turn(prompt=rest, answer=())]
        if turns and not layout.closed and self._tokenizer.eos_token_id is not None:
            last = turns[-1]
            self._notices.warn("open", f"it does not end the last answer: {self._tokenizer.eos_token} is added and learned.")
            turns[-1] = replace(last, answer=(*last.answer, self._tokenizer.eos_token_id))
        if turns and rest:
            turns[-1] = replace(turns[-1], tail=turns[-1].tail + rest)
        return turns or [Turn(prompt=rest, answer=())]

    def _encode_cut(self, origins: Sequence[Conversation], texts: list[str], cuts: list[list[int]]) -> list[list[list[int]]]:
        try:
            return self._guard.encode_cut(texts, cuts)
        except (TypeError, UnicodeEncodeError):
            for conversation in origins:
                for text in _texts(conversation):
                    check_text(text, conversation.origin)
            raise

    def _rendering(self, tools: Sequence[Mapping[str, Any]]) -> Any:
        """render(messages, generation_prompt) with the vendor's template; its refusals become TemplateError."""
        offered = [map_texts(wrapped(bare(tool)), self._guard.hide) for tool in tools] or None

        def render(messages: Sequence[Mapping[str, Any]], generation_prompt: bool) -> str:
            try:
                return self._tokenizer.apply_chat_template(
                    list(messages), tools=offered, tokenize=False, add_generation_prompt=generation_prompt, **self._options
                )
            except (JinjaError, TypeError, IndexError, KeyError, AttributeError, ValueError) as error:
                raise TemplateError(
                    f"the tokenizer's chat template refuses this conversation: {error}",
                    "Change the conversation, or name another template.",
                ) from error

        return render

    def _render_text(self, conversation: Conversation, generation_prompt: bool) -> str:
        for text in _texts(conversation):
            check_text(text, conversation.origin)
        try:
            return self._rendering(conversation.tools)(self._hf_messages(conversation), generation_prompt)
        except TemplateError as error:
            raise TemplateError(f"{conversation.origin or 'a conversation'}: {error.message}", error.remedy) from None

    def _hf_messages(self, conversation: Conversation) -> list[dict[str, Any]]:
        """Messages as apply_chat_template wants them, control words of their texts hidden."""
        return [self._hf_message(message, k) for k, message in enumerate(conversation.messages)]

    def _hf_message(self, message: Message, number: int) -> dict[str, Any]:
        hide = self._guard.hide
        result: dict[str, Any] = {"role": message.role, "content": hide(message.content)}
        if message.role == "assistant" and not self._knows_thinking:
            result["content"] = self._thinking_as_text(message)
        elif message.thinking is not None:
            for key in ("reasoning_content", "thinking"):
                if key in self._source:
                    result[key] = hide(message.thinking)
        if message.tool_calls:
            result["tool_calls"] = [
                {
                    "type": "function",
                    "id": call.id or f"call{number:03d}{k:02d}",
                    "function": {"name": hide(call.name), "arguments": map_texts(call.arguments, hide)},
                }
                for k, call in enumerate(message.tool_calls)
            ]
        return result

    def _thinking_as_text(self, message: Message) -> str:
        """For a template that knows no reasoning: written before the words as models that reason write it."""
        hide, thinking = self._guard.hide, message.thinking
        if thinking is not None:
            return f"{THINK[0]}{hide(thinking)}{THINK[1]}{hide(message.content)}"
        found, rest = split_thinking(message.content)
        if found is None:
            return hide(message.content)
        head, _, tail = message.content.partition("<think>")
        inner, _, tail = tail.partition("</think>")
        return f"{head}<think>{hide(inner)}</think>{hide(tail)}"

    def _tell_dropped(self, text: str, messages: Sequence[Mapping[str, Any]]) -> None:
        """Says what the vendor's template leaves out of a conversation; nothing is dropped in silence."""
        for i, message in enumerate(messages):
            if message["role"] != "assistant":
                continue
            reasoning = (message.get("reasoning_content") or message.get("thinking") or "").strip()
            if reasoning and reasoning not in text:
                if i == len(messages) - 1:
                    self._notices.warn("last", "it leaves out the reasoning of the last answer, so none is learned.")
                elif self._thinking.preserve:
                    self._notices.warn("kept", "it drops the reasoning of earlier answers although preserve_thinking is set.")
            content = message["content"].strip()
            if content and content not in text and content.rpartition("</think>")[2].strip() not in text:
                self._notices.warn("content", "it leaves out the words of an answer that calls tools.")

    def _write_probe(self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]) -> str:
        """The answer part of a conversation whose last message calls tools, as text."""
        render = self._rendering(tools)
        text, spans = find_spans(render, self._guard, self._ends, messages)
        answer = text[spans[-1].start : spans[-1].end]
        for match in reversed(self._guard.words_in(answer)):
            if match.end() == len(answer) and match[0] in self._ends.tokens:
                answer = answer[: match.start()]
        return answer


def _options(source: str, thinking: ThinkingMode) -> dict[str, Any]:
    """The variables by which vendors' templates know the thinking mode; only those that this template asks for."""
    options: dict[str, Any] = {}
    if thinking.enabled is not None:
        options |= {name: thinking.enabled for name in ("enable_thinking", "open_thinking") if name in source}
        if "thinking is defined" in source or "thinking is not defined" in source:
            options.setdefault("thinking", thinking.enabled)
    if thinking.preserve:
        options |= {name: value for name, value in (("preserve_thinking", True), ("clear_thinking", False)) if name in source}
    return options


def _message_keys(source: str) -> set[str]:
    return {"thinking"} if "message.thinking" in source or "['thinking']" in source or '["thinking"]' in source else set()


def _texts(conversation: Conversation) -> list[str]:
    """Texts of messages in the order of their holes: reasoning, then words."""
    texts = []
    for message in conversation.messages:
        if message.thinking is not None:
            texts.append(message.thinking)
        texts.append(message.content)
    return texts


def _with_holes(conversation: Conversation) -> Conversation:
    holes = iter(range(2 * len(conversation.messages)))
    messages = []
    for message in conversation.messages:
        thinking = None if message.thinking is None else HOLE + index_char(next(holes))
        messages.append(replace(message, thinking=thinking, content=HOLE + index_char(next(holes))))
    return replace(conversation, messages=tuple(messages))
