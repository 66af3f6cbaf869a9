"""LFM2's tool format: a list of Python calls between <|tool_call_start|> and <|tool_call_end|>."""

from __future__ import annotations

import ast
import keyword
import re
from collections.abc import Sequence
from typing import Any

from luthier.templates.tools.base import Tools, prompt, to_json
from luthier.types import ToolCall

_BLOCK = re.compile(r"<\|tool_call_start\|>(.*?)<\|tool_call_end\|>", re.DOTALL)
# Words that Python keeps for itself can name a tool or an argument (`from="Köln"`): a letter after them makes them names.
_KEPT = re.compile(rf""""(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|\b({"|".join(keyword.kwlist)})(?=\s*[=(])""")
_LETTER = "ː"
_JSON_NAMES = {"true": True, "false": False, "null": None}


class LFM2:
    name = "lfm2"
    marked = True
    joint = ""
    words = ("<|tool_call_start|>", "<|tool_call_end|>", "<|tool_list_start|>", "<|tool_list_end|>")

    def describe(self, tools: Tools) -> str:
        return prompt(self.name).replace("{tools}", to_json([dict(tool) for tool in tools]))

    def write(self, calls: Sequence[ToolCall]) -> str:
        written = (
            f"{call.name}({', '.join(f'{key}={to_json(value)}' for key, value in call.arguments.items())})" for call in calls
        )
        return f"<|tool_call_start|>[{', '.join(written)}]<|tool_call_end|>"

    def read(self, text: str, tools: Tools = ()) -> tuple[str, tuple[ToolCall, ...]]:
        found = _BLOCK.search(text)
        if not found:
            return text, ()
        source = _KEPT.sub(lambda match: match[0] + (_LETTER if match[1] else ""), found[1].strip())
        try:
            tree = ast.parse(source, mode="eval").body
            calls = tuple(_call(node) for node in (tree.elts if isinstance(tree, ast.List) else [tree]))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return text, ()
        return text[: found.start()].strip(), calls


def _call(node: ast.AST) -> ToolCall:
    if not isinstance(node, ast.Call) or node.args or any(each.arg is None for each in node.keywords):
        raise ValueError("not a call with named arguments")
    arguments = {str(each.arg).removesuffix(_LETTER): _value(each.value) for each in node.keywords}
    return ToolCall(name=ast.unparse(node.func).removesuffix(_LETTER), arguments=arguments)


def _value(node: ast.AST) -> Any:
    """A literal of Python or of JSON (true, false, null)."""

    class Names(ast.NodeTransformer):
        def visit_Name(self, node: ast.Name) -> ast.AST:
            return ast.Constant(_JSON_NAMES[node.id]) if node.id in _JSON_NAMES else node

    return ast.literal_eval(ast.fix_missing_locations(Names().visit(node)))
