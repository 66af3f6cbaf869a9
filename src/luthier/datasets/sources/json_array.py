"""A .json file: an array of objects, read element by element so that memory stays flat however big the file is.

Also reads objects one after the other without an array (JSON Lines under the name .json, pretty-printed or not).
A broken element leaves no row border to trust, so it is a DataError with line and column, never a skipped row.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import orjson

from luthier.datasets.base import BadRow, RawRow
from luthier.datasets.sources.file import File
from luthier.errors import DataError

CHUNK_CHARS = 1 << 20
NUMBER_TAIL = 3
"""A number so close to the end of the chunk may go on in the next one: "1e+" is read as 1 when cut."""
_SPACE = re.compile(r"[ \t\n\r]*")


def read_json(file: File) -> Iterator[RawRow]:
    """Elements with their number, from 1."""
    text = _Window(file)
    is_array = text.peek() == "["
    if is_array:
        text.take()
    number = 0
    while True:
        character = text.peek()
        if not character:
            if is_array:
                raise text.broken('the array is not closed: "]" is missing at the end', text.position)
            return
        if is_array and character == "]":
            text.take()
            if text.peek():
                raise text.broken("there is more after the end of the array", text.position)
            return
        if number and is_array:
            if character != ",":
                raise text.broken('"," expected between two rows', text.position)
            text.take()
            text.peek()
        number += 1
        yield number, text.value()


class _Window:
    """The part of the text around the element being read. position: index in buffer of the next character."""

    def __init__(self, file: File):
        self.path = file.path
        self.stream = file.open_text(newline="")
        self.decoder = json.JSONDecoder()
        self.buffer = ""
        self.position = 0
        self.at_end = False
        self.lines_before = 0
        self.chars_before_in_line = 0

    def peek(self) -> str:
        """The next character that is not white space, without taking it; "" at the end of the file."""
        while True:
            self.position = _SPACE.match(self.buffer, self.position).end()
            if self.position < len(self.buffer):
                return self.buffer[self.position]
            if not self.more():
                return ""

    def take(self) -> None:
        self.position += 1

    def value(self):
        """The JSON value that starts at position."""
        while True:
            try:
                value, end = self.decoder.raw_decode(self.buffer, self.position)
            except json.JSONDecodeError as error:
                cut = error.msg.startswith("Unterminated string") or error.pos >= len(self.buffer) - 8
                if cut and not self.at_end:
                    self.more()
                    continue
                raise self.broken(error.msg, error.pos) from None
            except RecursionError:
                raise self.broken("nested too deeply", self.position) from None
            if end > len(self.buffer) - NUMBER_TAIL and not self.at_end:
                self.more()
                continue
            surrogate = self.buffer.find("\\ud", self.position, end) >= 0 or self.buffer.find("\\uD", self.position, end) >= 0
            self.position = end
            return _checked(value) if surrogate else value

    def more(self) -> bool:
        """Drop what was read, add at least one chunk; an element longer than the window doubles it."""
        if self.at_end:
            return False
        self.lines_before, self.chars_before_in_line = self._line_and_column(self.position)
        rest = self.buffer[self.position :]
        chunk = self.stream.read(max(CHUNK_CHARS, len(rest)))
        self.buffer, self.position = rest + chunk, 0
        self.at_end = not chunk
        if self.at_end:
            self.stream.close()
        return bool(chunk)

    def broken(self, problem: str, position: int) -> DataError:
        line, column = self._line_and_column(position)
        return DataError(
            f"{self.path} is not valid JSON: {problem} (line {line + 1}, column {column + 1}).", "Mend the file there."
        )

    def _line_and_column(self, position: int) -> tuple[int, int]:
        newlines = self.buffer.count("\n", 0, position)
        if not newlines:
            return self.lines_before, self.chars_before_in_line + position
        return self.lines_before + newlines, position - self.buffer.rfind("\n", 0, position) - 1


def _checked(value):
    try:
        orjson.dumps(value)
    except orjson.JSONEncodeError as error:
        return BadRow(f"is not usable JSON: {error}", "Mend the row or delete it.")
    return value
