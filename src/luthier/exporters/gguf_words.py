"""A tokenizer as GGUF metadata: tokens, their kinds, merges or scores, and the name of the way it cuts text.

Enters: a transformers tokenizer (a BPE: of bytes, or of characters with bytes to fall back to). Leaves: Words.
Never: guesses how text is cut: a tokenizer that llama.cpp would cut otherwise is refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import yaml

from luthier.errors import ExportError

if TYPE_CHECKING:
    from gguf import GGUFWriter
    from transformers import PreTrainedTokenizerBase

    from luthier.templates.base import Template

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
"""Kinds of tokens, as llama.cpp numbers them."""

UNREACHABLE = -1e9
"""Score of a token that no merge makes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """model: "gpt2" (BPE of bytes) or "llama" (of characters).  pre: how text is cut first.  add_space_prefix: for "llama"."""

    model: str
    pre: str
    tokens: list[str]
    kinds: list[int]
    merges: list[str] | None = None
    scores: list[float] | None = None
    add_space_prefix: bool | None = None


def find_words(tokenizer: PreTrainedTokenizerBase, size: int) -> Words:
    """size: rows of the model's embedding; what the tokenizer has no name for is filled up."""
    if not getattr(tokenizer, "is_fast", False):
        raise ExportError("the tokenizer has no tokenizer.json.", "Save it as a fast tokenizer first.")
    raw = json.loads(tokenizer.backend_tokenizer.to_str())
    model = raw["model"]
    if model["type"] != "BPE":
        raise ExportError(f"the tokenizer is a {model['type']} model; a GGUF is made from BPE here.", "Export safetensors.")
    tokens, kinds = [f"[PAD{i}]" for i in range(size)], [UNUSED] * size
    for token, number in model["vocab"].items():
        tokens[number], kinds[number] = token, _kind(token, model)
    for added in raw["added_tokens"]:
        if added["id"] < size:
            tokens[added["id"]] = added["content"]
            kinds[added["id"]] = CONTROL if added["special"] else USER_DEFINED
    if unk := model.get("unk_token"):
        kinds[model["vocab"][unk]] = UNKNOWN
    merges = [tuple(merge.split(" ")) if isinstance(merge, str) else tuple(merge) for merge in model["merges"]]
    if model.get("byte_fallback"):
        ranks: dict[str, int] = {}
        for rank, (left, right) in enumerate(merges):
            ranks.setdefault(left + right, rank)
        scores = [-float(ranks[token]) if token in ranks else UNREACHABLE for token in tokens]
        prefix = _space_prefix(raw)
        return Words(model="llama", pre="default", tokens=tokens, kinds=kinds, scores=scores, add_space_prefix=prefix)
    pre = find_pretokenizer(raw)
    return Words(model="gpt2", pre=pre, tokens=tokens, kinds=kinds, merges=[" ".join(merge) for merge in merges])


def write_words(writer: GGUFWriter, words: Words, tokenizer: PreTrainedTokenizerBase, template: Template, prompt: list[int]):
    """All tokenizer keys. prompt: ids of any prompt in the template, which tell whether it begins with bos."""
    writer.add_tokenizer_model(words.model)
    writer.add_tokenizer_pre(words.pre)
    writer.add_token_list(words.tokens)
    writer.add_token_types(words.kinds)
    if words.merges is not None:
        writer.add_token_merges(words.merges)
    if words.scores is not None:
        writer.add_token_scores(words.scores)
    if words.add_space_prefix is not None:
        writer.add_add_space_prefix(words.add_space_prefix)
    for name in ("bos", "unk", "pad"):
        if (number := getattr(tokenizer, f"{name}_token_id")) is not None:
            getattr(writer, f"add_{name}_token_id")(number)
    first, *others = dict.fromkeys([*template.stop_token_ids, *_own_end(tokenizer)])
    writer.add_eos_token_id(first)
    for add, number in zip((writer.add_eot_token_id, writer.add_eom_token_id), others):
        add(number)
    bos = tokenizer.bos_token_id
    adds = bos is not None and tokenizer("a")["input_ids"][:1] == [bos]
    writer.add_add_bos_token(adds and prompt[0] == bos)  # a template without bos was trained without it
    writer.add_add_eos_token(False)
    writer.add_chat_template(template.jinja())


def find_pretokenizer(raw: Mapping[str, Any]) -> str:
    """llama.cpp's name for the pre-tokenizer of a tokenizer.json. ExportError where it has none."""
    if (raw.get("normalizer") or {}).get("type") not in (None, "NFC"):
        raise ExportError(f"the tokenizer changes text first ({raw['normalizer']['type']}), which llama.cpp would not do.")
    steps = [_step(part) for part in _parts(raw["pre_tokenizer"])]
    ignores = bool(raw["model"].get("ignore_merges"))
    digest = hashlib.sha256("\n".join(steps).encode()).hexdigest()
    for name, row in _rows().items():
        same = row["sha256"] == digest if "sha256" in row else row["steps"] == steps
        if same and row.get("ignore_merges", False) == ignores:
            return name
    raise ExportError(
        f"the tokenizer cuts text in a way that llama.cpp is not known to have: {'; '.join(step[:80] for step in steps)}",
        f"Known: {', '.join(_rows())}. Export safetensors.",
    )


def _step(part: Mapping[str, Any]) -> str:
    kind = part["type"]
    if kind == "Split" and part["behavior"] == "Isolated" and not part["invert"]:
        return part["pattern"].get("Regex") or part["pattern"]["String"]
    if kind == "ByteLevel" and not part["add_prefix_space"]:
        return "gpt-2" if part["use_regex"] else "bytes"
    if kind == "Digits" and part["individual_digits"]:
        return "digits"
    return json.dumps(part, ensure_ascii=False)


def _parts(step: Mapping[str, Any] | None) -> Sequence[Mapping[str, Any]]:
    if step is None:
        return []
    return step.get("pretokenizers") or step.get("normalizers") or [step]


def _space_prefix(raw: Mapping[str, Any]) -> bool:
    """Whether a text begins with the mark of a word (sentencepiece's dummy prefix); spaces have to be turned into that mark."""
    before, cuts = _parts(raw.get("normalizer")), _parts(raw.get("pre_tokenizer"))
    marks = [part for part in cuts if part["type"] == "Metaspace"]
    replaces = any(part["type"] == "Replace" and part.get("content") == "▁" for part in before)
    if not (marks or replaces):
        raise ExportError("the tokenizer does not turn spaces into ▁, as llama.cpp would.", "Export safetensors.")
    if marks:
        return marks[0].get("prepend_scheme", "always") != "never"
    return any(part["type"] == "Prepend" for part in before)


def _kind(token: str, model: Mapping[str, Any]) -> int:
    is_byte = model.get("byte_fallback") and len(token) == 6 and token.startswith("<0x") and token.endswith(">")
    return BYTE if is_byte else NORMAL


def _own_end(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    return [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]


@cache
def _rows() -> dict[str, dict[str, Any]]:
    return yaml.safe_load((files("luthier") / "exporters" / "gguf_pretokenizers.yaml").read_text(encoding="utf-8"))
