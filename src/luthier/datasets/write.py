"""Samples back to rows of any format, and rows to files: how `luthier data convert` writes.

Enters: samples. Leaves: one row a sample, and the dataset_info.json entry that reads them again. Each row is read back and
compared, so a format that has no place for something (tool calls in alpaca) is an error, never a loss.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from luthier.datasets.formats import FORMATS
from luthier.datasets.formats.messages import calls_as_text
from luthier.datasets.info import COLUMN_DEFAULTS, RANKING_DEFAULTS, parse_entry
from luthier.errors import DataError
from luthier.types import Conversation, Message, Preference, Prompt, Rated, Sample, Text, ToolCall

Row = dict[str, Any]


def entry_for(formatting: str, wants: type[Sample], file_name: str) -> dict[str, Any]:
    """The dataset_info.json entry of rows that rows_of writes: it names every column that is read, so that nothing is noted."""
    entry: dict[str, Any] = {"file_name": file_name}
    if formatting != "alpaca":
        entry["formatting"] = formatting
    if wants is Preference:
        entry["ranking"] = True
    columns = COLUMN_DEFAULTS[formatting] | (RANKING_DEFAULTS if wants is Preference else {})
    if formatting == "alpaca":
        columns |= {"history": "history", "system": "system"}
    if formatting != "text":
        columns |= {"tools": "tools"} | ({"kto_tag": "label"} if wants is Rated else {})
    return entry | {"columns": columns}


def rows_of(samples: Iterable[Sample], formatting: str, wants: type[Sample]) -> Iterator[Row]:
    """One row a sample, checked by reading it back. Raises DataError naming the row that formatting cannot hold."""
    if (formatting == "text") is not (wants is Text):
        raise DataError(f"{wants.__name__} samples cannot be written as {formatting}.", "Text is for pre-training texts only.")
    entry = parse_entry("converted", entry_for(formatting, wants, "rows.jsonl"), base=".", where="convert")
    reader = FORMATS[formatting](entry, wants)
    write = WRITERS[formatting]
    for sample in samples:
        row = write(sample)
        if not _same(reader, row, sample):
            raise DataError(
                f"{sample.origin} cannot be written as {formatting} without loss.",
                "Tool calls and weights need sharegpt or openai; openai holds everything.",
            )
        yield row


def _same(reader: Any, row: Row, sample: Sample) -> bool:
    try:
        again = reader.convert(row, sample.origin)
    except DataError:
        return False
    return _without_ids(again) == _without_ids(sample)


def _without_ids(sample: Any) -> Any:
    """The sample with nothing that a format may leave out: ids of calls, other columns of a prompt."""
    if isinstance(sample, Conversation):
        messages = tuple(_message_without_ids(message) for message in sample.messages)
        return replace(sample, messages=messages, origin=None, tools=tuple(dict(tool) for tool in sample.tools))
    if isinstance(sample, Preference):
        chosen, rejected = _message_without_ids(sample.chosen), _message_without_ids(sample.rejected)
        return replace(sample, prompt=_without_ids(sample.prompt), chosen=chosen, rejected=rejected)
    if isinstance(sample, (Rated, Prompt)):
        rest = {"columns": {}} if isinstance(sample, Prompt) else {}
        return replace(sample, conversation=_without_ids(sample.conversation), **rest)
    return sample


def _message_without_ids(message: Message) -> Message:
    if not message.tool_calls:
        return message
    return replace(message, tool_calls=tuple(ToolCall(name=c.name, arguments=dict(c.arguments)) for c in message.tool_calls))


def _words(message: Message) -> str:
    """The words with the thinking before them, as alpaca and sharegpt rows write it."""
    if message.thinking is None:
        return message.content
    return f"<think>\n{message.thinking}\n</think>\n\n{message.content}"


def _parts(sample: Sample) -> tuple[Conversation, Row]:
    """The turns, and the columns beside them with answers still as messages."""
    if isinstance(sample, Preference):
        return sample.prompt, {"chosen": sample.chosen, "rejected": sample.rejected}
    if isinstance(sample, Rated):
        return sample.conversation, {"label": sample.desirable}
    if isinstance(sample, Prompt):
        return sample.conversation, dict(sample.columns)
    return sample, {}


def _alpaca(sample: Sample) -> Row:
    conversation, beside = _parts(sample)
    messages = list(conversation.messages)
    system = messages.pop(0).content if messages[0].role == "system" else ""
    answer = messages.pop() if messages[-1].role == "assistant" else None
    question = messages.pop()
    row: Row = {"instruction": question.content, "input": "", "output": None if answer is None else _words(answer)}
    if isinstance(sample, Prompt):
        row["output"] = sample.reference
    row["history"] = [[a.content, _words(b)] for a, b in zip(messages[::2], messages[1::2])]
    row |= {"system": system, "tools": _tools_text(conversation)}
    row |= {key: _words(value) if isinstance(value, Message) else value for key, value in beside.items()}
    return {key: value for key, value in row.items() if key == "input" or value not in (None, "", []) or key == "output"}


def _sharegpt(sample: Sample) -> Row:
    conversation, beside = _parts(sample)
    messages = [_sharegpt_message(message) for message in conversation.messages]
    if isinstance(sample, Prompt) and sample.reference is not None:
        messages.append({"from": "gpt", "value": sample.reference})
    row: Row = {"conversations": messages, "tools": _tools_text(conversation)}
    return row | {key: _sharegpt_message(value) if isinstance(value, Message) else value for key, value in beside.items()}


def _sharegpt_message(message: Message) -> Row:
    tag = {"system": "system", "user": "human", "assistant": "gpt", "tool": "observation"}[message.role]
    row = {"from": tag, "value": _words(message)}
    if message.tool_calls:
        row = {"from": "function_call", "value": "\n".join(filter(None, (_words(message), calls_as_text(message.tool_calls))))}
    return row | ({} if message.weight is None else {"weight": message.weight})


def _openai(sample: Sample) -> Row:
    conversation, beside = _parts(sample)
    messages = [_openai_message(message) for message in conversation.messages]
    if isinstance(sample, Prompt) and sample.reference is not None:
        messages.append({"role": "assistant", "content": sample.reference})
    row: Row = {"messages": messages}
    if conversation.tools:
        row["tools"] = [{"type": "function", "function": dict(tool)} for tool in conversation.tools]
    return row | {key: _openai_message(value) if isinstance(value, Message) else value for key, value in beside.items()}


def _openai_message(message: Message) -> Row:
    row: Row = {"role": message.role, "content": message.content}
    if message.thinking is not None:
        row["reasoning_content"] = message.thinking
    if message.tool_calls:
        row["tool_calls"] = [_openai_call(call, number) for number, call in enumerate(message.tool_calls, start=1)]
    return row | ({} if message.weight is None else {"weight": message.weight})


def _openai_call(call: ToolCall, number: int) -> Row:
    arguments = json.dumps(dict(call.arguments), ensure_ascii=False)
    return {"id": call.id or f"call_{number}", "type": "function", "function": {"name": call.name, "arguments": arguments}}


def _tools_text(conversation: Conversation) -> str:
    return json.dumps([dict(tool) for tool in conversation.tools], ensure_ascii=False) if conversation.tools else ""


def _text(sample: Sample) -> Row:
    return {"text": sample.text}


WRITERS: Mapping[str, Callable[[Any], Row]] = {"alpaca": _alpaca, "sharegpt": _sharegpt, "openai": _openai, "text": _text}
SUFFIXES = (".jsonl", ".json", ".csv")


def write_rows(path: Path, rows: Iterable[Row]) -> int:
    """Write rows one by one beside path, then rename into place. Returns their number; leaves nothing half written."""
    if path.suffix not in SUFFIXES:
        raise DataError(f"{path} is of no kind that can be written.", f"Known: {', '.join(SUFFIXES)}")
    draft = path.with_name(f".{path.name}.new")
    try:
        with draft.open("w", encoding="utf-8", newline="") as file:
            count = {".jsonl": _write_jsonl, ".json": _write_json, ".csv": _write_csv}[path.suffix](file, rows)
        draft.replace(path)
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror}.", "Write elsewhere, or free some space.") from None
    finally:
        draft.unlink(missing_ok=True)
    return count


def _write_jsonl(file: Any, rows: Iterable[Row]) -> int:
    count = 0
    for row in rows:
        file.write(json.dumps(row, ensure_ascii=False) + "\n")
        count += 1
    return count


def _write_json(file: Any, rows: Iterable[Row]) -> int:
    count = 0
    for count, row in enumerate(rows, start=1):
        file.write(("[\n" if count == 1 else ",\n") + json.dumps(row, ensure_ascii=False))
    file.write("\n]\n" if count else "[]\n")
    return count


def _write_csv(file: Any, rows: Iterable[Row]) -> int:
    writer = None
    count = 0
    for count, row in enumerate(rows, start=1):
        writer = writer or csv.DictWriter(file, list(row))
        if count == 1:
            writer.writeheader()
        if row.keys() != set(writer.fieldnames) or not all(isinstance(value, (str, bool)) for value in row.values()):
            raise DataError(f"row {count} is no row of plain texts with the same columns.", "Write .jsonl instead of .csv.")
        writer.writerow(row)
    return count
