"""Logs of talks (JSON, JSONL, CSV, TXT) to conversations: a heading for each, and a line for each turn.

Who answers is taken from the role where the log has one, else from usual names (agent, support, 客服 ...), else it is the
speaker who did not begin. A new conversation begins with a new id, or after half an hour of silence.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from luthier.documents.base import Parsed, plural
from luthier.documents.readers.decode import decode
from luthier.errors import DataError

SPEAKER_KEYS = ("role", "speaker", "from", "sender", "name", "author", "user", "角色", "发送者", "发送人", "说话人", "昵称")
WORDS_KEYS = ("content", "text", "message", "value", "msg", "body", "utterance", "内容", "消息", "消息内容")
TIME_KEYS = ("time", "timestamp", "date", "datetime", "created_at", "created", "时间", "日期", "发送时间")
TALK_KEYS = ("conversation_id", "conversation", "session_id", "session", "dialog_id", "thread", "会话", "会话id", "会话编号")
TURNS_KEYS = ("messages", "conversations", "turns", "dialogue", "dialog")
ANSWERS = re.compile(
    r"^(?:assistant|agent|support|bot|gpt|system operator|operator|advisor|客服|坐席|顾问|助手|机器人|专员)", re.IGNORECASE
)
ASKS = re.compile(r"^(?:user|human|customer|client|visitor|用户|客户|访客|顾客|买家)", re.IGNORECASE)
LINE = re.compile(
    r"^\s*[\[(（【]?(?P<time>\d{4}[-/.年]\d{1,2}[-/.月]\d{1,2}日?[ T]\d{1,2}:\d{2}(?::\d{2})?|\d{1,2}:\d{2}(?::\d{2})?)?"
    r"[\])）】]?\s*"
    r"(?P<name>[^\s:：][^:：\n]{0,30}?)\s*[:：]\s*(?P<words>.*)$"
)
GAP_S = 1800
Lost = Counter[tuple[str, str]]
"""(what, which) is left out, and how often."""


class Line(NamedTuple):
    talk: str
    speaker: str
    time: str
    words: str


def read_chatlog(path: Path, options: Mapping[str, Any]) -> Parsed:
    text, notes = decode(path)
    lost: Lost = Counter()
    lines = list(_lines(path, text, lost))
    if not lines:
        raise DataError(f"{path.name} has no line with a speaker and words.", 'Lines look like "2024-05-01 10:00 Kim: Hello".')
    talks = list(_talks(lines))
    body, dropped = f"# {path.stem}\n\n", 0
    for number, talk in enumerate(talks, start=1):
        turns, outside = _turns(talk)
        lost["line", "outside of question and answer"] += outside if turns else 0
        dropped += not turns
        if turns:
            when = f" ({talk[0].time})" if talk[0].time else ""
            body += f"## {talk[0].talk or number}{when}\n\n"
            body += "\n\n".join(f"**{role}** ({name}): {words}" for role, name, words in turns) + "\n\n"
    if dropped == len(talks):
        raise DataError(f"{path.name}: no talk has a question and an answer.", "It needs two speakers.")
    lost["talk", "without question and answer"] = dropped
    more = (f"{plural(count, what)} {which} left out" for (what, which), count in lost.items() if count)
    return Parsed(text=body, title=path.stem, kind="chat", parser="own", version="1", notes=(*notes, *more))


def _lines(path: Path, text: str, lost: Lost) -> Iterator[Line]:
    if path.suffix in (".json", ".jsonl"):
        yield from _from_records(_records(path, text), lost)
    elif path.suffix in (".csv", ".tsv"):
        delimiter = "\t" if path.suffix == ".tsv" else ","
        yield from _from_records(list(csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)), lost)
    else:
        yield from _from_text(text, lost)


def _records(path: Path, text: str) -> list[Any]:
    if path.suffix == ".jsonl":
        lines = enumerate(text.split("\n"), start=1)
        return [_json(line, f"{path.name} line {number}") for number, line in lines if line.strip()]
    data = _json(text, path.name)
    return (
        data
        if isinstance(data, list)
        else next((v for v in data.values() if isinstance(v, list)), [])
        if isinstance(data, dict)
        else []
    )


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"{where} is no valid JSON: {error}.", "Mend it there.") from None


def _from_records(records: Iterable[Any], lost: Lost, talk: str = "") -> Iterator[Line]:
    for number, record in enumerate(records, start=1):
        if isinstance(record, list):
            yield from _from_records(record, lost, str(number))
        elif isinstance(record, dict):
            turns = next((record[key] for key in TURNS_KEYS if isinstance(record.get(key), list)), None)
            if turns is not None:
                yield from _from_records(turns, lost, str(record.get("id") or number))
                continue
            found = {str(key).strip().lower(): value for key, value in record.items()}
            words = _first(found, WORDS_KEYS)
            if words:
                yield Line(_first(found, TALK_KEYS) or talk, _first(found, SPEAKER_KEYS), _first(found, TIME_KEYS), words)
            else:
                lost["record", "without words"] += 1
        else:
            lost["record", "that is no object"] += 1


def _first(found: Mapping[str, Any], keys: Iterable[str]) -> str:
    return next((" ".join(str(found[key]).split()) for key in keys if found.get(key) not in (None, "")), "")


def _from_text(text: str, lost: Lost) -> Iterator[Line]:
    last: Line | None = None
    for line in text.splitlines():
        match = LINE.match(line)
        if match:
            if last:
                yield last
            last = Line("", match["name"].strip(), match["time"] or "", match["words"].strip())
        elif not last:
            lost["line", "before the first speaker"] += bool(line.strip())
        elif line.strip():
            last = last._replace(words=f"{last.words} {line.strip()}".strip())
    if last:
        yield last


def _talks(lines: Iterable[Line]) -> Iterator[list[Line]]:
    talk: list[Line] = []
    for line in lines:
        if talk and (line.talk != talk[-1].talk or _seconds(line.time) - _seconds(talk[-1].time) > GAP_S):
            yield talk
            talk = []
        talk.append(line)
    if talk:
        yield talk


def _seconds(time: str) -> float:
    text = re.sub(r"[年月/.]", "-", time).replace("日", "")
    try:
        return datetime.fromisoformat(text.replace(" ", "T")).timestamp()
    except ValueError:
        return float(text) if re.fullmatch(r"\d{9,}(\.\d+)?", text) else 0.0


def _turns(talk: list[Line]) -> tuple[list[tuple[str, str, str]], int]:
    """((User or Assistant, name, words) from the first question to the last answer, how many lines stand outside of these).

    Turns of one side are put together.
    """
    answering = {line.speaker for line in talk if ANSWERS.match(line.speaker)}
    if not answering:
        asking = next((line.speaker for line in talk if ASKS.match(line.speaker)), talk[0].speaker)
        others = Counter(line.speaker for line in talk if line.speaker != asking)
        answering = {others.most_common(1)[0][0]} if others else set()
    turns: list[tuple[str, str, str]] = []
    sizes: list[int] = []
    for line in talk:
        if line.speaker.lower() == "system":
            continue
        role = "Assistant" if line.speaker in answering else "User"
        if turns and turns[-1][0] == role:
            turns[-1] = (role, turns[-1][1], f"{turns[-1][2]} {line.words}")
            sizes[-1] += 1
        else:
            turns.append((role, line.speaker, line.words))
            sizes.append(1)
    first = int(bool(turns) and turns[0][0] != "User")
    stop = len(turns) - int(bool(turns) and turns[-1][0] != "Assistant")
    return turns[first:stop], sum(sizes[:first]) + sum(sizes[stop:])
