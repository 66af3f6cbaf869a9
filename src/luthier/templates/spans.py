"""Where the assistant's words lie in a conversation that the vendor's chat template has rendered.

In: a rendering function and messages in Hugging Face's form. Out: the rendered text and, for each assistant turn, the
characters that are its answer. Proved for each conversation, never guessed: what cannot be proved is a TemplateError.

    <|im_start|>user\\nHi<|im_end|>\\n<|im_start|>assistant\\nHello!<|im_end|>\\n
                                                          ^ start       ^ end
start: where the generation prompt of the turn ends, so that a model is trained from exactly what it is given later.
end: after the end-of-turn token(s) that follow the words. Words are found by marks (see _marked) put around every text;
the marked rendering without its marks must equal the plain one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from luthier.errors import TemplateError
from luthier.templates.guard import HOLE, SPAN, Guard, char_index, index_char

Messages = Sequence[Mapping[str, Any]]
Render = Callable[..., str]  # render(messages, generation_prompt: bool) -> text
_MARK = re.compile(f"{SPAN}(.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Span:
    """Characters start..end of the rendered text are the answer of messages[message]; the tail goes on to tail.

    asked: the answer begins where the generation prompt ends, not before a part of that which the rendering lacks.
    """

    message: int
    start: int
    end: int
    tail: int
    asked: bool


@dataclass(frozen=True, slots=True)
class Ends:
    """What stands around an answer.

    tokens: control words that follow the words of an assistant.  openers: none do, and a control word that opens the next
    message ends the turn (GLM-4).  header: the usual generation prompt.  lead: white space between that and the words.
    """

    tokens: frozenset[str]
    openers: frozenset[str]
    header: str
    lead: str


def find_ends(render: Render, guard: Guard, eos: str | None) -> Ends:
    """Learns from two small conversations how this template ends an answer."""
    user, answer, more = ({"role": r, "content": c} for r, c in (("user", "qua"), ("assistant", "quo"), ("user", "qui")))
    header = _header(render, [user])
    before, _, last = render([user, answer], False).rpartition("quo")
    lead = before.removeprefix(render([user], True))
    lead = lead if lead.isspace() else ""
    try:
        between = render([user, answer, more], False).rpartition("quo")[2].partition("qui")[0]
    except TemplateError:
        between = ""
    first = [match[0] for match in guard.words_in(header)[:1]] or [m[0] for m in guard.words_in(between)[-1:]]
    openers = set(first) - ({eos} if eos else set())
    if between.startswith(last) and last.strip():
        openers |= {match[0] for match in guard.words_in(between[len(last) :])[:1]}
    tokens = set(_run(guard, last, openers)) | set(_run(guard, between, openers))
    if not tokens and guard.words_in(between)[:1] and between.startswith(guard.words_in(between)[0][0]):
        return Ends(frozenset(), frozenset({guard.words_in(between)[0][0]} | openers), header, lead)
    return Ends(frozenset(tokens | ({eos} if eos else set())), frozenset(), header, lead)


def find_spans(render: Render, guard: Guard, ends: Ends, messages: Messages) -> tuple[str, list[Span]]:
    """The rendered conversation and the span of every assistant turn in it."""
    waits = messages[-1]["role"] != "assistant"
    text = render(messages, waits)
    marks = _marks(render, messages, waits, text)
    words = guard.words_in(text)
    spans: list[Span] = []
    for i, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        if i not in marks and _has_text(message):
            continue  # the template leaves this turn out, or all of its words
        earlier = [marks[j][1] for j in marks if j < i] + [span.end for span in spans]
        later = [marks[j][0] for j in marks if j > i]
        low, high = max(earlier, default=0), min(later, default=len(text))
        first, last = marks.get(i, (high, low))
        start, asked = _start(render, guard, ends, messages, i, text, low, first)
        end = _end(words, ends, max(last, start), high)
        if end is None:
            end = _unended(render, messages, i, text, max(last, start), high)
        space = len(text[end:high]) - len(text[end:high].lstrip())
        tail = end + space if high > end + space or high == len(text) else end
        spans.append(Span(i, start, end, tail, asked))
    return text, spans


def _has_text(message: Mapping[str, Any]) -> bool:
    return bool(message.get("tool_calls")) or any(
        str(message.get(key) or "").strip() for key in ("content", "reasoning_content")
    )


def _header(render: Render, before: Messages) -> str:
    """What the template adds when it asks for an answer."""
    plain, asking = render(before, False), render(before, True)
    return asking[len(plain) :] if asking.startswith(plain) else ""


def _run(guard: Guard, rest: str, openers: set[str]) -> list[str]:
    """Control words right at the beginning of rest (white space may come first), up to one that opens a message."""
    run, at = [], len(rest) - len(rest.lstrip())
    for match in guard.words_in(rest):
        if match.start() != at or match[0] in openers:
            break
        run.append(match[0])
        at = match.end()
    return run


def _marked(message: Mapping[str, Any], mark: str) -> Mapping[str, Any]:
    """The message with a mark on both sides of every text, inside its outer white space (templates strip that)."""

    def around(text: Any) -> Any:
        if not isinstance(text, str) or not text.strip():
            return text
        head, core = text[: len(text) - len(text.lstrip())], text.strip()
        return head + mark + core + mark + text[len(head) + len(core) :]

    marked = {
        key: around(value) if key in ("content", "reasoning_content", "thinking") else value for key, value in message.items()
    }
    if message.get("tool_calls"):
        calls = [
            {**call, "function": {**call["function"], "name": mark + call["function"]["name"]}}
            for call in message["tool_calls"]
        ]
        marked["tool_calls"] = calls
    return marked


def _marks(render: Render, messages: Messages, waits: bool, text: str) -> dict[int, tuple[int, int]]:
    """Message index -> first and last character of its texts in the rendered text; only messages that can be seen there."""
    marked = render([_marked(message, SPAN + index_char(i)) for i, message in enumerate(messages)], waits)
    if _MARK.sub("", marked) != text:
        raise TemplateError(
            "the tokenizer's chat template treats the words of a message in a way that hides where they are in the result.",
            "Name a template of its family, for instance: template: chatml",
        )
    places: dict[int, tuple[int, int]] = {}
    for k, match in enumerate(_MARK.finditer(marked)):
        message, at = char_index(match[1]), match.start() - 2 * k
        places[message] = (min(places.get(message, (at,))[0], at), at)
    return places


def _start(
    render: Render, guard: Guard, ends: Ends, messages: Messages, i: int, text: str, low: int, high: int
) -> tuple[int, bool]:
    """Where, between low and high, the generation prompt of messages[i] ends, and whether all of it is there."""
    header = ends.header
    try:
        asking = render(messages[:i], True)
        header = _header(render, messages[:i])
    except TemplateError:  # a template may refuse a conversation that has not begun
        asking = None
    if asking is not None and text.startswith(asking) and low <= len(asking) <= high:
        return len(asking), True
    # The turn was rewritten since (reasoning of the past dropped) or the prompt holds a thinking block that it lacks.
    for candidate in _shorter(guard, header):
        at = text.rfind(candidate, low, high)
        if at >= 0:
            return at + len(candidate), candidate == header
    raise TemplateError(
        f"the tokenizer's chat template does not show where the answer in message {i + 1} begins.",
        "Name a template of its family, for instance: template: chatml",
    )


def _shorter(guard: Guard, header: str) -> list[str]:
    """The header, and its beginnings that end after a control word or white space, longest first."""
    ends = {match.end() for match in guard.words_in(header)} | {match.end() for match in re.finditer(r"\s+", header)}
    thinking = re.search(r"<\w*:?think>|◁think▷", header)  # a prefilled block counts as a whole or not at all
    ends = {end for end in ends if thinking is None or end <= thinking.start()} | {len(header)}
    return [header[:end] for end in sorted(ends, reverse=True) if header[:end].strip()]


def _end(words: Sequence[re.Match[str]], ends: Ends, low: int, high: int) -> int | None:
    """After the first run of end-of-turn words in low..high (the opener of the next message, where a family ends turns so)."""
    wanted = ends.tokens or ends.openers
    end = None
    for match in words:
        if match.start() < low or match.end() > high:
            continue
        if end is None and match[0] in wanted:
            end = match.end()
            if ends.openers:
                return end
        elif end is not None:
            if match.start() != end or match[0] not in wanted:
                break
            end = match.end()
    return end


def _unended(render: Render, messages: Messages, i: int, text: str, low: int, high: int) -> int:
    """The end of an answer that no control word closes: of the words, or of the tool calls that follow them."""
    if not messages[i].get("tool_calls"):
        return low
    upto = render(messages[: i + 1], False) if i + 1 < len(messages) else text
    if text.startswith(upto) and low <= len(upto) <= high:
        return low + len(text[low : len(upto)].rstrip())
    raise TemplateError(
        f"the tokenizer's chat template does not show where the tool calls of message {i + 1} end.",
        "Name a template of its family, for instance: template: chatml",
    )


def cut_holes(text: str) -> tuple[str | int, ...]:
    """Text with holes (see jinja._Layout) as its literal parts and the numbers of the holes between them."""
    parts = re.split(f"{HOLE}(.)", text, flags=re.DOTALL)
    return tuple(char_index(part) if k % 2 else part for k, part in enumerate(parts) if k % 2 or part)
