"""What a person types, or a pipe brings, as messages: continued lines and blocks put together.

Enters: lines. Leaves: messages. A line that ends with a backslash goes on in the next one; what stands between two BLOCK marks
is one message, also where it begins with a slash.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

BLOCK = '"""'


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One message or command, stripped. is_block: it stood between block marks, so it is no command."""

    text: str
    is_block: bool = False


def read_lines(is_typed: bool) -> Iterator[Line]:
    """From the terminal (with a prompt, until Ctrl-D or Ctrl-C twice) or from stdin to its end. Empty ones are left out."""
    return join_lines(_typed() if is_typed else (line.rstrip("\n") for line in sys.stdin))


def join_lines(lines: Iterable[str]) -> Iterator[Line]:
    """Blocks and continued lines as one Line each."""
    rest = iter(lines)
    for line in rest:
        if is_block := line.strip().startswith(BLOCK):
            text = _block(line.strip().removeprefix(BLOCK), rest)
        else:
            text = line
            while text.endswith("\\") and (following := next(rest, None)) is not None:
                text = f"{text[:-1]}\n{following}"
        if text.strip():
            yield Line(text=text.strip(), is_block=is_block)


def _block(first: str, rest: Iterator[str]) -> str:
    lines = [first]
    while not lines[-1].rstrip().endswith(BLOCK) and (following := next(rest, None)) is not None:
        lines.append(following)
    return "\n".join(lines).rstrip().removesuffix(BLOCK)


def _typed() -> Iterator[str]:
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  arrow keys and history in input()
    interrupted = False
    while True:
        try:
            yield input("> ")
            interrupted = False
        except EOFError:
            print()
            return
        except KeyboardInterrupt:
            print()
            if interrupted:
                return
            interrupted = True
            print("Once more, or /exit, to leave.", file=sys.stderr)
