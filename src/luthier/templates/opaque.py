"""Which texts a Jinja chat template cannot tell apart: it copies them, whatever they say.

In: the source of a chat template. Out: a test for ordinary texts, or none at all where the template does more with a text
than joining, stripping, splitting at fixed words and looking for fixed words. When in doubt a text is not ordinary.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from jinja2 import Environment, nodes
from jinja2.exceptions import TemplateSyntaxError

from luthier.templates.guard import RESERVED_CHARS

_PARTS = ("messages", "tools", "tool_calls", "function", "arguments", "parameters")
_WHOLE = ("message", "messages", "loop_messages", "msg", "m", "tool", "tools", "tool_call", "tool_calls", "loop", "ns")
_FILTERS = {
    "trim",
    "tojson",
    "string",
    "items",
    "join",
    "list",
    "default",
    "safe",
    "length",
    "count",
    "selectattr",
    "rejectattr",
    "reject",
}
_METHODS = {
    "strip",
    "lstrip",
    "rstrip",
    "split",
    "rsplit",
    "startswith",
    "endswith",
    "items",
    "keys",
    "values",
    "get",
    "append",
}
_STRIPS = {"strip", "lstrip", "rstrip"}
_UNKNOWN = (nodes.Mul, nodes.Mod, nodes.CallBlock, nodes.FilterBlock, nodes.Include, nodes.Import)
_FUNCTIONS = {"raise_exception", "strftime_now", "namespace", "range", "dict"}


class Ordinary:
    """ordinary(text) is True only for a text that the template must copy as it is."""

    def __init__(self, words: set[str]):
        self._words = tuple(sorted(word for word in words if word)) + RESERVED_CHARS

    def __call__(self, text: str) -> bool:
        return bool(text) and text == text.strip() and not any(word in text for word in self._words)

    @classmethod
    def of(cls, source: str) -> Ordinary | None:
        """None for a template whose treatment of texts cannot be vouched for."""
        environment = Environment(extensions=["jinja2.ext.loopcontrols"])
        try:
            tree = environment.parse(source)
        except TemplateSyntaxError:  # tags of an extension we do not know
            return None
        known = _Known(
            frozenset(macro.name for macro in tree.find_all(nodes.Macro)),
            frozenset(_name(a.target) for a in tree.find_all(nodes.Assign) if _is_split(a.node))
            - frozenset(_name(a.target) for a in tree.find_all(nodes.Assign) if not _is_split(a.node)),
        )
        if any(_looks_inside(node, known) for node in _walk(tree)):
            return None
        return cls({word for node in _walk(tree) for word in _words(node)})


@dataclass(frozen=True, slots=True)
class _Known:
    """macros: names of the template's own functions.  parts: names of what split() of a text gave."""

    macros: frozenset[str]
    parts: frozenset[str]


def _name(node: nodes.Node) -> str:
    return node.name if isinstance(node, nodes.Name) else ""


def _is_split(node: nodes.Node) -> bool:
    return isinstance(node, nodes.Call) and isinstance(node.node, nodes.Getattr) and node.node.attr in ("split", "rsplit")


def _walk(node: nodes.Node) -> Iterator[nodes.Node]:
    yield node
    for child in node.iter_child_nodes():
        yield from _walk(child)


def _is_text(node: nodes.Node) -> bool:
    """Whether an expression may be a message's text: it is called so, or is one of its parts."""
    if isinstance(node, nodes.Name):
        return node.name not in _WHOLE
    if isinstance(node, nodes.Getattr):
        return node.attr not in _PARTS
    if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const):
        return node.arg.value not in _PARTS
    return True


def _looks_inside(node: nodes.Node, known: _Known) -> bool:
    """Whether this step could give different results for two texts that hold none of the template's words."""
    if isinstance(node, nodes.Filter):
        if node.name in ("length", "count") and node.node is not None:
            return _is_text(node.node)
        if node.name in ("first", "last") and node.node is not None:
            return not (_is_split(node.node) or _name(node.node) in known.parts)
        return node.name not in _FILTERS
    if isinstance(node, nodes.Call):
        if isinstance(node.node, nodes.Getattr):
            fixed = node.node.attr in _METHODS and all(isinstance(argument, nodes.Const) for argument in node.args)
            return not fixed and node.node.attr != "append"
        return not isinstance(node.node, nodes.Name) or node.node.name not in _FUNCTIONS | known.macros
    if isinstance(node, nodes.Getitem):
        if isinstance(node.arg, nodes.Slice):
            return _is_text(node.node)
        taken_apart = _is_split(node.node) or _name(node.node) in known.parts  # content.split('</think>')[0]
        return isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, int) and not taken_apart and _is_text(node.node)
    return isinstance(node, _UNKNOWN)


def _words(node: nodes.Node) -> Iterator[str]:
    """Fixed words that decide what becomes of a text: compared, looked for, split at."""
    if isinstance(node, nodes.Compare):
        operands = [node.expr, *(operand.expr for operand in node.ops)]
        if any(_is_role(operand) for operand in operands) or not any(_is_text(o) for o in operands if not _is_fixed(o)):
            return  # message.role == 'user', 'tool_calls' in message
    elif isinstance(node, nodes.Call) and isinstance(node.node, nodes.Getattr) and node.node.attr not in _STRIPS | {"get"}:
        operands = list(node.args)
    elif isinstance(node, nodes.Test):
        operands = list(node.args or ())
    else:
        return
    for operand in operands:
        for leaf in _walk(operand):
            if isinstance(leaf, nodes.Const) and isinstance(leaf.value, str):
                yield leaf.value


def _is_role(node: nodes.Node) -> bool:
    if isinstance(node, nodes.Getattr):
        return node.attr == "role"
    return isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const) and node.arg.value == "role"


def _is_fixed(node: nodes.Node) -> bool:
    return isinstance(node, (nodes.Const, nodes.List, nodes.Tuple))
