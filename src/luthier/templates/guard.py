"""Keeps the text of messages from turning into control tokens.

In: text whose control words (`<|im_end|>`, `[/INST]`, `<think>` ...) come either from a template or from a person.
Out: token ids in which only the template's control words are control tokens; a person's are spelled out as plain text.

How: the tokenizer is copied with its control words renamed to markers no text can hold (a noncharacter of Unicode and an
index). Words of the template are replaced by their markers before tokenising; everything else, prefix spaces, normalizers
and the stripping flags of added tokens included, stays the tokenizer's own. Never changes the tokenizer it was given.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from tokenizers import AddedToken, Tokenizer

from luthier.errors import TemplateError
from luthier.types import ToolCall

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

# Noncharacters of planes 9 and 10: Unicode promises that no text for interchange holds them.
MARKER, HIDDEN, SPAN, HOLE = "\U0009fffe", "\U0009ffff", "\U000afffe", "\U000affff"
RESERVED_CHARS = (MARKER, HIDDEN, SPAN, HOLE)
RESERVED = re.compile(f"[{MARKER}{HIDDEN}{SPAN}]")  # a hole is looked for only in text that was made with holes
_BASE = 0x100000  # index k is written as the private-use character _BASE + k
_TAG = re.compile(r"\A(?:<[|｜].*[|｜]>|</?(?:think|tool_call|tool_response|tools|answer)>)\Z", re.DOTALL)
_BRACKETED = re.compile(r"\A[<\[◁【].*[>\]▷】]\Z", re.DOTALL)


def index_char(k: int) -> str:
    return chr(_BASE + k)


def char_index(char: str) -> int:
    return ord(char) - _BASE


class Guard:
    """tokenizer: a fast tokenizer.  sources: texts of the template, to tell control words from ordinary added tokens.

    An added token is a control word if it is special, is written `<|so|>`, or is a bracketed word that the template uses.
    Other added tokens (runs of spaces, letters, HTML tags in some vocabularies) are how that vocabulary writes plain text.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast, sources: Iterable[str] = ()):
        self._backend: Tokenizer = tokenizer.backend_tokenizer
        text = "\n".join(sources)
        self.added = dict(sorted(self._backend.get_added_tokens_decoder().items()))
        self.control = {token.content: i for i, token in self.added.items() if _is_control(token, text)}
        self._words = sorted(self.control, key=len, reverse=True)
        self._index = {word: k for k, word in enumerate(self._words)}
        alternatives = "|".join(map(re.escape, self._words))
        self._word = re.compile(alternatives) if alternatives else None
        self._any = re.compile(f"{HIDDEN}(.)|({alternatives})" if alternatives else f"{HIDDEN}(.)", re.DOTALL)
        self._starts = {word[:n] for word in self._words for n in range(1, len(word))}
        self._ends = {word[-n:] for word in self._words for n in range(1, len(word))}
        self._longest = max(map(len, self._words), default=1)
        self._middles = self._find_middles(text)
        self._joint = index_char(len(self._words))  # hides nothing: keeps two halves of a word from meeting

    def hide(self, text: str) -> str:
        """A person's text with its control words made unrecognisable until finish() puts them back."""
        if RESERVED.search(text):
            check_text(text, None)
        if not text or self._word is None:
            return text
        hidden = self._word.sub(lambda match: HIDDEN + index_char(self._index[match[0]]), text)
        if text in self._middles or any(hidden[-n:] in self._starts for n in range(1, min(self._longest, len(hidden) + 1))):
            hidden = hidden + HIDDEN + self._joint
        if any(hidden[:n] in self._ends for n in range(1, min(self._longest, len(hidden) + 1))):
            hidden = HIDDEN + self._joint + hidden
        return hidden

    def hide_json(self, value: Any) -> Any:
        """A JSON value with every text in it hidden, keys too. Plain names stay, so that templates can look them up."""
        if isinstance(value, str):
            plain = value.isidentifier() and value not in self._middles and not self.words_in(value)
            return value if plain else self.hide(value)
        if isinstance(value, Mapping):
            return {self.hide_json(key): self.hide_json(item) for key, item in value.items()}
        return [self.hide_json(item) for item in value] if isinstance(value, (list, tuple)) else value

    def hide_calls(self, calls: Sequence[ToolCall]) -> list[ToolCall]:
        return [replace(call, name=self.hide(call.name), arguments=self.hide_json(call.arguments)) for call in calls]

    def _find_middles(self, sources: str) -> set[str]:
        """Texts that would complete a control word between the two halves of it that a template writes: '<|' ~ text ~ '|>'."""
        edges = [match.start() for match in re.finditer(r"[\"'{}]", sources)]
        lengths = range(1, self._longest)
        before = {sources[max(at - n, 0) : at] for at in edges for n in lengths} & self._starts
        after = {sources[at + 1 : at + 1 + n] for at in edges for n in lengths} & self._ends
        return {
            word[len(head) : -len(tail)]
            for word in self._words
            for head in before
            if word.startswith(head)
            for tail in after
            if word.endswith(tail) and len(head) + len(tail) < len(word)
        }

    def finish(self, text: str) -> str:
        """Rendered text ready for encode(): the template's control words as markers, hidden words as they were."""
        return self._any.sub(self._restore, text)

    def _restore(self, match: re.Match[str]) -> str:
        if match[1] is None:
            return MARKER + index_char(self._index[match[0]])
        k = char_index(match[1])
        return self._words[k] if k < len(self._words) else ""

    def checked(self, text: str) -> str:
        """A person's text that is given to encode() as it is."""
        if MARKER in text:
            check_text(text, None)
        return text

    def words_in(self, text: str) -> list[re.Match[str]]:
        """The control words of rendered text, in order (hidden ones are not found)."""
        return list(self._word.finditer(text)) if self._word is not None else []

    def readable(self, text: str) -> str:
        """Finished text with its markers as words again, for people."""
        return re.sub(f"{MARKER}(.)", lambda match: self._words[char_index(match[1])], text, flags=re.DOTALL)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of finished texts, without the tokens that a post-processor adds."""
        encodings = self._clone.encode_batch_fast(list(texts), add_special_tokens=False)
        return [self._own_ids(encoding.ids) for encoding in encodings]

    def encode_cut(self, texts: Sequence[str], cuts: Sequence[Sequence[int]]) -> list[list[list[int]]]:
        """Ids of each text in len(cuts) + 1 parts, cut at rising character positions.

        cuts repeat start, end and tail of an answer; a token that holds a character of an answer belongs to it.
        """
        encodings = self._clone.encode_batch(list(texts), add_special_tokens=False)
        return [
            _split(
                self._own_ids(encoding.ids),
                [len(encoding) if at == len(text) else _token_at(encoding, at, k % 3 == 1) for k, at in enumerate(positions)],
            )
            for text, encoding, positions in zip(texts, encodings, cuts, strict=True)
        ]

    def _own_ids(self, ids: list[int]) -> list[int]:
        if not self._renumbered:
            return ids
        return [self._renumbered.get(i, i) for i in ids]

    @cached_property
    def _renumbered(self) -> dict[int, int]:
        """Id in the copy -> id in the tokenizer, where they differ (added tokens with gaps between their ids)."""
        pairs = ((self._clone.token_to_id(self._name(token.content)), i) for i, token in self.added.items())
        return {copy: own for copy, own in pairs if copy != own}

    def _name(self, content: str) -> str:
        k = self._index.get(content)
        return content if k is None else MARKER + index_char(k)

    @cached_property
    def _clone(self) -> Tokenizer:
        model_words = range(self._backend.get_vocab_size(with_added_tokens=False))
        if any(i in model_words for i in self.control.values()):
            # The model's own vocabulary holds control words (SentencePiece): rename them there, so that ids stay the same
            # and no text can be spelled as one of them.
            return self._copy(Tokenizer.from_str(self._without_words()).model)
        return self._copy(self._backend.model)

    def _copy(self, model: Any) -> Tokenizer:
        clone = Tokenizer(model)
        if self._backend.normalizer is not None:
            clone.normalizer = self._backend.normalizer
        if self._backend.pre_tokenizer is not None:
            clone.pre_tokenizer = self._backend.pre_tokenizer
        clone.add_tokens([_renamed(token, self._name(token.content)) for token in self.added.values()])
        return clone

    def _without_words(self) -> str:
        """The tokenizer as JSON whose model cannot spell a control word as one piece."""
        state = json.loads(self._backend.to_str())
        model, control = state["model"], self.control
        if isinstance(model["vocab"], list):  # Unigram: [[piece, score], ...]
            model["vocab"] = [
                [self._name(piece), score] if piece in control else [piece, score] for piece, score in model["vocab"]
            ]
        else:
            model["vocab"] = {self._name(piece): i for piece, i in model["vocab"].items()}
        if "merges" in model:
            pairs = (merge.split(" ") if isinstance(merge, str) else merge for merge in model["merges"])
            model["merges"] = [pair for pair in pairs if "".join(pair) not in control and not control.keys() & set(pair)]
        if model.get("unk_token") is not None:
            model["unk_token"] = self._name(model["unk_token"])
        return json.dumps({**state, "added_tokens": [], "post_processor": None}, ensure_ascii=False)


def check_text(text: str, origin: object) -> None:
    """Raises TemplateError for text that no tokenizer can read exactly: lone surrogates and the reserved characters."""
    found = RESERVED.search(text)
    if found:
        raise TemplateError(
            f"{origin or 'a message'} holds U+{ord(found[0]):X}, which Unicode reserves and no text may use.", "Remove it."
        )
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise TemplateError(
            f"{origin or 'a message'} holds {text[error.start]!r}, half of a character (a lone surrogate).",
            "Write the file again as UTF-8, with whole characters.",
        ) from None


def _is_control(token: AddedToken, sources: str) -> bool:
    content = token.content
    if not content.strip():
        return False
    return token.special or bool(_TAG.match(content)) or (bool(_BRACKETED.match(content)) and content in sources)


def _renamed(token: AddedToken, name: str) -> AddedToken:
    return AddedToken(
        name,
        single_word=token.single_word,
        lstrip=token.lstrip,
        rstrip=token.rstrip,
        normalized=token.normalized,
        special=False,
    )


def _token_at(encoding: Any, position: int, is_end: bool) -> int:
    """Index of the first token after a cut: it starts there (end of an answer), or holds the first character (start)."""
    token = encoding.char_to_token(position)
    if token is None:  # beyond the last character, or one that the normalizer removed
        return next((i for i, (_, end) in enumerate(encoding.offsets) if end > position), len(encoding.ids))
    if is_end:
        return token + 1 if encoding.token_to_chars(token)[0] < position else token
    while token > 0 and encoding.token_to_chars(token - 1)[0] >= position:  # a prefix space has no character of its own
        token -= 1
    return token


def _split(ids: list[int], at: Sequence[int]) -> list[list[int]]:
    bounds = [0, *at, len(ids)]
    return [ids[start:end] for start, end in pairwise(bounds)]
