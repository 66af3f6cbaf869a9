"""A named template as a Jinja chat template, to be saved with the tokenizer of a model that was trained with it.

In: a family, its tool format and the mode. Out: text that transformers (and what understands its chat templates) renders to
the same conversation that NamedTemplate writes for generation: the reasoning of earlier answers is left out unless it is
preserved, and `enable_thinking` can be given when rendering. Never reads a tokenizer's own chat template.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import yaml

from luthier.templates.family import Family
from luthier.templates.slots import CONTENT
from luthier.templates.thinking import THINK, ThinkingMode
from luthier.templates.tools.base import ToolFormat, prompt

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_MACROS = """\
{%- macro describe_tools(tools) -%}
{{- BEFORE -}}
{%- for each in tools -%}
{%- set first, last = loop.first, loop.last -%}
{%- set tool = each.function if each.function is mapping else each -%}
{%- set wrapped = {"type": "function", "function": tool} -%}
TOOL
{%- endfor -%}
{{- AFTER -}}
{%- endmacro -%}
{%- macro write_calls(tool_calls) -%}
{%- set list = namespace(calls=[]) -%}
{%- for call in tool_calls -%}
{%- set list.calls = list.calls + [call.function if call.function is mapping else call] -%}
{%- endfor -%}
{%- set calls = list.calls -%}
CALLS
{%- endmacro -%}
"""

_MAIN = """\
{%- set thinks = enable_thinking if enable_thinking is defined else THINKS -%}
{%- set given = messages[0].content if messages and messages[0].role == "system" else "" -%}
{%- set system = given or DEFAULT_SYSTEM -%}
{%- if tools -%}
{%- set described = describe_tools(tools) -%}
{%- set system = system ~ described if system else described.lstrip("\\n") -%}
{%- endif -%}
{{- PREFIX -}}
{%- set held = namespace(text="") -%}
{%- if system -%}SYSTEM{%- endif -%}
{%- for message in messages -%}
{%- set content = message.content or "" -%}
{%- if message.role == "system" and not loop.first -%}
{%- set system = content -%}
SYSTEM
{%- elif message.role == "user" -%}
{%- set content = held.text ~ content -%}{%- set held.text = "" -%}
{{- USER -}}
{%- elif message.role == "tool" -%}
TOOL_RESULT
{%- elif message.role == "assistant" -%}
{{- held.text -}}{%- set held.text = "" -%}
{{- HEADER -}}
ANSWER
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- held.text -}}
{{- HEADER -}}
PREFILL
{%- endif -%}
"""

_ANSWER = """\
{%- set thought = namespace(text="") -%}
{%- if message.reasoning_content -%}
{%- set thought.text = OPENING ~ message.reasoning_content ~ CLOSING -%}
{%- elif content.lstrip().startswith(OPENING_WORD) and CLOSING_WORD in content -%}
{%- set rest = (content.split(CLOSING_WORD)[1:] | join(CLOSING_WORD)).lstrip("\\n") -%}
{%- set thought.text = content[:content | length - rest | length] -%}
{%- set content = rest -%}
{%- endif -%}
{%- if not (KEEPS or loop.last)UNWANTED -%}{%- set thought.text = "" -%}{%- endif -%}
EMPTY
{%- if message.tool_calls -%}
{%- set content = content ~ (JOINT if content else "") ~ write_calls(message.tool_calls) -%}
{%- endif -%}
{%- set content = thought.text ~ content -%}
{%- if message.tool_calls -%}
{{- CALL -}}
{%- else -%}
{{- WORDS -}}
{%- endif -%}
{{- END if loop.last else END_EARLIER -}}
{{- TAIL -}}
"""


def write_jinja(
    family: Family,
    tokenizer: PreTrainedTokenizerFast,
    tool_format: ToolFormat,
    default_system: str,
    thinking: ThinkingMode,
) -> str:
    """The chat template's source. {{bos}} and {{eos}} become the tokenizer's words."""
    slots = family.slots

    def text(slot: str, content: str = "content") -> str:
        return _expression(slot, tokenizer, content)

    words = (family.thinking or THINK)[0], (family.thinking or THINK)[1]
    empty = text(slots["empty_thinking"]) if family.thinking else '""'
    system = f"{{%- set held.text = held.text ~ {text(family.system, 'system')} -%}}"
    end = family.end + ("{{eos}}" if family.ends_with_next else "")
    answer = _fill(
        _ANSWER,
        OPENING=json.dumps(words[0], ensure_ascii=False),
        CLOSING=json.dumps(words[1], ensure_ascii=False),
        OPENING_WORD=json.dumps(words[0].strip(), ensure_ascii=False),
        CLOSING_WORD=json.dumps(words[1].strip(), ensure_ascii=False),
        KEEPS=str(thinking.preserve or not family.thinking).lower(),
        UNWANTED=" or thinks is false" if family.thinking else "",
        EMPTY=_empty(family, empty),
        JOINT=json.dumps(tool_format.joint),
        CALL=text(family.call or family.answer),
        WORDS=text(family.answer),
        END=f"({text(end)})",
        END_EARLIER=f"({text(family.end_earlier or family.end)})",
        TAIL=text(family.tail),
    )
    main = _fill(
        _MAIN,
        THINKS={True: "true", False: "false", None: "none"}[thinking.enabled],
        DEFAULT_SYSTEM=json.dumps(default_system, ensure_ascii=False),
        PREFIX=text(family.prefix),
        SYSTEM=system if family.system_in_user else f"{{{{- {text(family.system, 'system')} -}}}}",
        USER=text(family.user),
        TOOL_RESULT=_tool_result(family, text),
        HEADER=text(family.header),
        ANSWER=answer,
        PREFILL=f"{{%- if not thinks -%}}{{{{- {empty} -}}}}{{%- endif -%}}" if family.thinking else "",
    )
    # The template's own line breaks are taken away by the dashes; those of its texts are written as \n.
    return _macros(tool_format) + re.sub(r"\n{2,}", "\n", main)


def _fill(source: str, **parts: str) -> str:
    """The source with its words in capitals replaced."""
    return re.sub(r"\b(" + "|".join(parts) + r")\b", lambda match: parts[match[1]], source)


def _macros(tool_format: ToolFormat) -> str:
    written = _formats()["qwen" if tool_format.name == "ling" else tool_format.name]
    before, _, after = prompt(tool_format.name).partition("{tools}")
    return _fill(
        _MACROS,
        BEFORE=_prompt_text(before),
        AFTER=_prompt_text(after),
        TOOL=written["tool"],
        CALLS=written["calls"],
    )


def _prompt_text(text: str) -> str:
    """A prompt's fixed text as an expression; {names} and {today} are the names of the tools and the date."""
    values = {
        "{names}": 'tools | map(attribute="function") | map(attribute="name") | join(", ")',
        "{today}": 'strftime_now("%d %b %Y")',
    }
    parts = re.split(r"(\{names\}|\{today\})", text)
    return " ~ ".join(f"({values[part]})" if part in values else json.dumps(part, ensure_ascii=False) for part in parts)


def _empty(family: Family, empty: str) -> str:
    """The block that stands for no reasoning, where an answer has it."""
    if not family.thinking:
        return ""
    when = "not thought.text" if family.empty_always else "not thought.text and loop.last"
    return f"{{%- if {when} -%}}{{{{- {empty} -}}}}{{%- endif -%}}"


def _tool_result(family: Family, text: Any) -> str:
    slot = family.tool or family.user
    if not family.tool_join:
        return f"{{{{- {text(slot)} -}}}}"
    before, _, after = slot.partition(CONTENT)
    return (
        f'{{{{- {text(family.tool_join)} if loop.previtem is defined and loop.previtem.role == "tool" else {text(before)} -}}}}'
        "{{- content -}}"
        f'{{%- if loop.last or loop.nextitem.role != "tool" -%}}{{{{- {text(after)} -}}}}{{%- endif -%}}'
    )


def _expression(slot: str, tokenizer: PreTrainedTokenizerFast, content: str) -> str:
    """A slot as a Jinja expression: strings and the name of the content, joined."""
    names = {"bos": tokenizer.bos_token or "", "eos": tokenizer.eos_token or "", "|": ""}
    parts = []
    for k, piece in enumerate(re.split(r"\{\{(content|bos|eos|\||token:[^}]+)\}\}", slot)):
        if k % 2 and piece == "content":
            parts.append(content)
            continue
        text = (names.get(piece, piece.removeprefix("token:"))) if k % 2 else piece
        if text:
            parts.append(json.dumps(text, ensure_ascii=False))
    return " ~ ".join(parts) or '""'


@cache
def _formats() -> Mapping[str, Mapping[str, str]]:
    return yaml.safe_load(files("luthier.templates.tools").joinpath("jinja.yaml").read_text(encoding="utf-8"))
