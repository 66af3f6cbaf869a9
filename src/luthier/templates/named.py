"""A named template (`template: qwen`): the slots of a family, filled with messages.

In: conversations. Out: turns, tokenised slot by slot as people know it from LLaMA-Factory, so that the boundary between
prompt and answer is one of tokens, in training as in generation. Never reads the tokenizer's own chat template.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from luthier.errors import TemplateError
from luthier.templates.documents import Documents
from luthier.templates.family import Family
from luthier.templates.guard import MARKER, Guard, check_text
from luthier.templates.notices import Notices
from luthier.templates.slots import CONTENT, Slot, Unit, lay_out
from luthier.templates.thinking import THINK, ThinkingMode, split_generated, split_thinking
from luthier.templates.tools import find_tool_format
from luthier.templates.tools.base import bare
from luthier.types import Conversation, Message, ToolCall, Turn

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

History = Literal["full", "kept", "dropped"]
"""Earlier answers of a reasoning family: full has reasoning, an empty block where there was none; kept has what there was."""


_THINKS = ThinkingMode(enabled=True)


@dataclass(slots=True)
class _Draft:
    """A turn before it is tokenised: units of its prompt, and of its answer with end and tail."""

    prompt: list[Unit] = field(default_factory=list)
    answer: list[Unit] = field(default_factory=list)
    weight: float = 1.0


class NamedTemplate:
    """history: what encode() keeps of the reasoning in earlier answers; encode_prompt() drops it unless thinking.preserve."""

    def __init__(
        self,
        family: Family,
        tokenizer: PreTrainedTokenizerFast,
        *,
        default_system: str | None = None,
        thinking: ThinkingMode = _THINKS,
        tool_format: str | None = None,
        history: History = "full",
    ):
        self.name = family.name
        self.family = family
        self._tokenizer = tokenizer
        self._notices = Notices(family.name)
        self._default_system = family.default_system if default_system is None else default_system
        self._thinking = thinking
        self._history: History = history
        self._tools = find_tool_format(tool_format or family.tools)
        self._think = family.thinking or THINK
        self._guard = Guard(tokenizer, [*family.texts, *self._tools.words])
        self._end_id = _end_id(family.end, self._guard, tokenizer)
        if self._end_id is None and family.end.strip():
            self.family = family = replace(family, end="{{eos}}", end_earlier="")
            self._end_id = tokenizer.eos_token_id
            self._notices.warn("end", _no_end(family.name, tokenizer.eos_token))
        self._slots = {name: Slot.of(text, self._guard, tokenizer) for name, text in family.slots.items()}
        self._documents = Documents(tokenizer, self._guard)
        known = [self._guard.control[word] for word in family.stop if word in self._guard.control]
        stops = [i for i in (self._end_id, *known, tokenizer.eos_token_id, self._documents.end_id) if i is not None]
        self.stop_token_ids: tuple[int, ...] = tuple(dict.fromkeys(stops))

    # --- what the rest of the program asks for -----------------------------------------------------------------------

    def encode(self, conversation: Conversation) -> list[Turn]:
        return self.encode_batch([conversation])[0]

    def encode_batch(self, conversations: Sequence[Conversation]) -> list[list[Turn]]:
        """encode() of many conversations in one call of the tokenizer."""
        drafts = [self._drafts(conversation, self._history) for conversation in conversations]
        ids = self._encode(conversations, [unit for each in drafts for unit in _units(each)])
        return [self._turns(each, ids) for each in drafts]

    def encode_prompt(self, conversation: Conversation) -> list[int]:
        units = self._prompt_units(conversation)
        return lay_out(units, self._encode([conversation], units))

    def encode_texts(self, texts: Sequence[str]) -> list[list[int]]:
        return self._documents.encode(texts)

    def render(self, conversation: Conversation, *, add_generation_prompt: bool = False) -> str:
        units = (
            self._prompt_units(conversation)
            if add_generation_prompt
            else _units(self._drafts(conversation, self._history, False))
        )
        words = [self._tokenizer.convert_ids_to_tokens(unit) if isinstance(unit, int) else unit for unit in units]
        return self._guard.readable("".join(words))

    def parse(self, text: str, tools: Sequence[Mapping[str, Any]] = ()) -> Message:
        lead = self.family.answer.partition(CONTENT)[0]
        text = (text.removeprefix(lead) if lead.isspace() else text).removeprefix(self.family.empty_thinking)
        thinking, rest = split_generated(text, self._think)
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
        from luthier.templates.write_jinja import write_jinja

        return write_jinja(self.family, self._tokenizer, self._tools, self._default_system, self._thinking)

    # --- how it is done ----------------------------------------------------------------------------------------------

    def _prompt_units(self, conversation: Conversation) -> list[Unit]:
        if conversation.messages and conversation.messages[-1].role == "assistant":
            raise TemplateError(
                f"{_where(conversation)} does not wait for an answer: its last message is the assistant's.",
                "End it with a message of the user or a tool.",
            )
        return _units(self._drafts(conversation, "kept" if self._thinking.preserve else "dropped"))

    def _drafts(self, conversation: Conversation, history: History, asks: bool = True) -> list[_Draft]:
        """Turns as units.  asks: a conversation that waits for an answer ends with the generation header."""
        messages = self._checked(conversation)
        drafts, draft, held = [], _Draft(prompt=self._slots["prefix"].fill()), ""
        for i, message in enumerate(messages):
            before = messages[i - 1].role if i else None
            after = messages[i + 1].role if i + 1 < len(messages) else "assistant" if asks else None
            if message.role == "assistant":
                if before not in ("user", "tool"):
                    draft.prompt += [*([held] if held else []), *self._slots["header"].fill()]
                self._write_answer(draft, message, None if i + 1 == len(messages) else history)
                drafts.append(draft)
                draft, held = _Draft(), ""
            elif message.role == "system" and self.family.system_in_user:
                held += "".join(map(str, self._slots["system"].fill(message.content)))
            elif message.role == "system":
                draft.prompt += self._slots["system"].fill(message.content)
            elif message.role == "tool" and after == "tool" and self.family.tool_join:
                held += message.content + str(self._slots["tool_join"].fill()[0])
            else:
                slot = self._slots[message.role + ("+header" if after == "assistant" else "")]
                draft.prompt += slot.fill(held + message.content)
                held = ""
        if draft.prompt:
            if asks and self.family.thinking and not self._thinking.enabled:
                draft.prompt += self._slots["empty_thinking"].fill()
            drafts.append(draft)
        return drafts

    def _checked(self, conversation: Conversation) -> list[Message]:
        """The messages with the system message in front that they are to have: given or default, and the tools."""
        messages = list(conversation.messages)
        if not messages:
            raise TemplateError(f"{_where(conversation)} has no messages.", "Remove it from the dataset.")
        for message in messages:
            if MARKER in message.content or (message.thinking and MARKER in message.thinking):
                check_text(message.content + (message.thinking or ""), conversation.origin)
        given = messages.pop(0).content if messages[0].role == "system" else ""
        system = given or self._default_system
        if conversation.tools:
            tools = [self._guard.hide_json(bare(tool)) for tool in conversation.tools]
            described = self._guard.finish(self._tools.describe(tools))
            system = system + described if system else described.lstrip("\n")
        return [Message(role="system", content=system), *messages] if system else messages

    def _write_answer(self, draft: _Draft, message: Message, history: History | None) -> None:
        """history: None for the last message of a conversation, which keeps its reasoning and may get an empty block."""
        thought, words = self._thought(message)
        if thought and self.family.thinking and (history == "dropped" or self._thinking.enabled is False):
            if history is None:
                self._notices.warn("off", "enable_thinking is false: the reasoning in the data is left out.")
            thought = ""
        if self.family.thinking and not thought and (history in (None, "full") or self.family.empty_always):
            block = self._slots["empty_thinking"].fill()
            if self._thinking.enabled:
                draft.answer += block
            else:
                draft.prompt += block
        if message.tool_calls:
            words = (words + self._tools.joint if words else "") + self._written_calls(message.tool_calls)
        slot = ("call" if message.tool_calls else "answer") + ("" if history is None else " earlier")
        draft.answer += self._slots[slot].fill(thought + words)
        if history is None and self.family.ends_with_next and self._tokenizer.eos_token_id is not None:
            draft.answer.append(self._tokenizer.eos_token_id)
        draft.weight = 1.0 if message.weight is None else message.weight

    def _thought(self, message: Message) -> tuple[str, str]:
        """The reasoning as it is written, with its words as control words, and the content after it."""
        opening, closing = self._think
        if message.thinking:
            return self._guard.finish(opening) + message.thinking + self._guard.finish(closing), message.content
        found, rest = split_thinking(message.content, self._think)
        if found is None:
            return "", message.content
        block = message.content[: len(message.content) - len(rest)]  # as the dataset spells it
        head, _, block = block.partition(opening.strip())
        inner, _, after = block.partition(closing.strip())
        return head + self._guard.finish(opening.strip()) + inner + self._guard.finish(closing.strip()) + after, rest

    def _written_calls(self, calls: Sequence[ToolCall]) -> str:
        return self._guard.finish(self._tools.write(self._guard.hide_calls(calls)))

    def _encode(self, conversations: Sequence[Conversation], units: Sequence[Unit]) -> dict[str, list[int]]:
        """Text -> ids for every text among the units; each different text is tokenised once."""
        texts = list(dict.fromkeys(unit for unit in units if isinstance(unit, str)))
        try:
            return dict(zip(texts, self._guard.encode(texts)))
        except (TypeError, UnicodeEncodeError):
            for conversation in conversations:
                for message in conversation.messages:
                    check_text(message.content + (message.thinking or ""), conversation.origin)
            raise

    def _turns(self, drafts: Sequence[_Draft], ids: dict[str, list[int]]) -> list[Turn]:
        turns: list[Turn] = []
        for draft in drafts:
            prompt, answer = lay_out(draft.prompt, ids), lay_out(draft.answer, ids)
            if turns and self.family.ends_with_next and prompt and prompt[0] in self.stop_token_ids:
                turns[-1] = replace(turns[-1], answer=(*turns[-1].answer, prompt.pop(0)))  # it is what ends the turn before
            end = self._after_end(answer) if self.family.tail else len(answer)
            turns.append(Turn(prompt=tuple(prompt), answer=tuple(answer[:end]), tail=tuple(answer[end:]), weight=draft.weight))
        return turns

    def _after_end(self, answer: Sequence[int]) -> int:
        """The index after the last end-of-turn token; no message can hold one."""
        return next((k for k in range(len(answer), 0, -1) if answer[k - 1] == self._end_id), len(answer))


def _units(drafts: Sequence[_Draft]) -> list[Unit]:
    return [unit for draft in drafts for unit in (*draft.prompt, *draft.answer)]


def _where(conversation: Conversation) -> str:
    return str(conversation.origin or "a conversation")


def _end_id(end: str, guard: Guard, tokenizer: PreTrainedTokenizerFast) -> int | None:
    """The id of the token that ends a turn; None where it is no single token of this tokenizer."""
    if end.endswith("{{eos}}"):
        return tokenizer.eos_token_id
    words = guard.words_in(end)
    return guard.control[words[-1][0]] if words and words[-1].end() == len(end) else None


def _no_end(name: str, eos: str | None) -> str:
    return (
        f"this tokenizer lacks the end-of-turn token of {name}: answers end with {eos!r} instead, and the template's other "
        "words are plain text. A template of the model's own family would suit it better."
    )
