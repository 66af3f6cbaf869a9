"""Step 5 with a model: an answer to each question, with quotes that are looked up in the source; dialogues; weaker answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from luthier.documents.base import digest
from luthier.documents.evidence import find_quote
from luthier.documents.jobs import schemas
from luthier.documents.jobs.reply import BadReply, Reply, read_json
from luthier.documents.project import Project
from luthier.documents.prompts import fill, prompt_key, prompt_of
from luthier.documents.steps.ask import UNANSWERABLE, words_of

ANSWER_VERSION = "1"
MOST_QUOTES = 6
QUESTIONS = """SELECT question.id AS question_id, question.text AS question, question.type, chunk.*, document.title,
    document.language, document.text_sha FROM question JOIN chunk ON chunk.id=question.chunk JOIN document ON
    document.id=chunk.doc"""


class Answer:
    """The Work of answering. A subject is a question id."""

    stage = "answer"

    def __init__(self, project: Project, question_recipe: str):
        self.project, self.store, self.question_recipe = project, project.store, question_recipe
        self.part, endpoint = project.recipe.answer, project.recipe.endpoint
        prompts = [prompt_key(project.recipe, stage) for stage in ("answer", "refuse", "dialogue", "knowledge")]
        shape = [self.part.style, str(self.part.turns), self.part.reasoning, endpoint.model, str(endpoint.temperature)]
        self.recipe = digest(ANSWER_VERSION, question_recipe, *shape, *prompts)[:16]
        self.model: str | None = None

    def subjects(self) -> list[str]:
        sql = f"""{QUESTIONS} WHERE question.recipe=? AND chunk.state='current' AND document.state='parsed'
                  ORDER BY document.name, chunk.start, question.ordinal, question.id"""
        return [row["question_id"] for row in self.store.all(sql, self.question_recipe)]

    def request(self, subject: str) -> dict[str, Any]:
        row = self._row(subject)
        slots = {
            "title": row["title"],
            "section": " > ".join(json.loads(row["path"])),
            "text": words_of(self.project, row),
            "question": row["question"],
            "style": self.part.style,
            "turns": self.part.turns,
        }
        body = {
            "messages": [
                {"role": "user", "content": fill(prompt_of(self.project.recipe, self._prompt(row), row["language"]), slots)}
            ]
        }
        return body | ({"model": self.model} if self.model else {})

    def schema(self, subject: str) -> Mapping[str, Any]:
        is_dialogue = self._prompt(self._row(subject)) == "dialogue"
        return schemas.dialogue(self.part.turns) if is_dialogue else schemas.ANSWER

    def keep(self, subject: str, reply: Reply, call: str) -> None:
        row = self._row(subject)
        text, turns, quotes = self._read(reply, dialogue=self._prompt(row) == "dialogue")
        id = digest(subject, self.recipe)[:20]
        keeps = self.part.reasoning == "keep"
        self.store.put(
            "answer",
            id=id,
            question=subject,
            text=text,
            thinking=reply.thinking if keeps else None,
            thinking_origin=reply.thinking_origin if keeps else None,
            turns=json.dumps(turns, ensure_ascii=False) if turns else None,
            origin="model",
            model=reply.model or self.model or self.project.recipe.endpoint.model,
            recipe=self.recipe,
            finish_reason=reply.finish_reason,
            call=call,
        )
        self.store.write("DELETE FROM evidence WHERE answer=?", id)
        source = self.project.text(row["text_sha"])
        start = row["start"] if row["prefix_start"] is None else min(row["start"], row["prefix_start"])
        for ordinal, quote in enumerate(quotes[:MOST_QUOTES]):
            proof = find_quote(source, quote, start, row["end"])
            self.store.put(
                "evidence", answer=id, ordinal=ordinal, quote=quote, start=proof.start, end=proof.end, match=proof.match
            )

    def _read(self, reply: Reply, dialogue: bool) -> tuple[str, list[dict[str, str]], list[str]]:
        found = read_json(reply.text)
        if isinstance(found, list) and len(found) == 1:
            found = found[0]
        if not isinstance(found, dict):
            raise BadReply("no_answer", 'the JSON is no object with "answer"')
        quotes = found.get("quotes") or found.get("quote") or []
        quotes = [quotes] if isinstance(quotes, str) else quotes
        quotes = [str(quote).strip() for quote in quotes if str(quote).strip()]
        if not dialogue:
            answer = found.get("answer")
            if not isinstance(answer, str) or not answer.strip():
                raise BadReply("no_answer", 'the JSON holds no "answer"')
            return answer.strip(), [], quotes
        turns = [
            {"role": turn["role"], "content": str(turn["content"]).strip()}
            for turn in found.get("turns") or []
            if isinstance(turn, dict) and turn.get("role") in ("user", "assistant") and str(turn.get("content") or "").strip()
        ]
        if len(turns) < 2 or len(turns) % 2 or [turn["role"] for turn in turns] != ["user", "assistant"] * (len(turns) // 2):
            raise BadReply("no_turns", '"turns" must alternate user, assistant, and end with assistant')
        return turns[1]["content"], turns, quotes

    def _prompt(self, row: Any) -> str:
        if self.project.recipe.ask.kind == "topic":
            return "knowledge"
        if row["type"] == UNANSWERABLE:
            return "refuse"
        return "dialogue" if self.part.turns > 1 else "answer"

    def _row(self, subject: str) -> Any:
        return self.store.one(f"{QUESTIONS} WHERE question.id=?", subject)


class Weaker(Answer):
    """The same questions to a weaker model: its answers become the rejected side of preference pairs."""

    stage = "weaker"

    def __init__(self, project: Project, answers: Answer):
        super().__init__(project, answers.question_recipe)
        self.model = self.part.weaker
        self.answers = answers
        self.recipe = digest("weaker", answers.recipe, self.model or "")[:16]

    def keep(self, subject: str, reply: Reply, call: str) -> None:
        text, _, _ = self._read(reply, dialogue=False)
        better = digest(subject, self.answers.recipe)[:20]
        if self.store.value("SELECT text FROM answer WHERE id=?", better) not in (None, text):
            self.store.put("rejected", answer=better, text=text, origin=f"weaker:{self.model}", call=call)

    def _prompt(self, row: Any) -> str:
        return "refuse" if row["type"] == UNANSWERABLE else "answer"
