"""Step 7: two verdicts on each row that the filters let through: supported by the source, and useful alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from luthier.documents.base import digest
from luthier.documents.jobs import schemas
from luthier.documents.jobs.reply import BadReply, Reply, read_json
from luthier.documents.project import Project
from luthier.documents.prompts import fill, prompt_key, prompt_of, table
from luthier.documents.steps.ask import UNANSWERABLE, chunk_row, words_of
from luthier.documents.steps.rows import ROWS, current_rows

AXES = ("supported", "useful")
FLAGS = {"supported": "not_supported", "useful": "not_useful"}


class Judge:
    """The Work of judging. A subject is an answer id with a hash of its words, so that an edited answer is judged anew."""

    stage = "judge"

    def __init__(self, project: Project):
        self.project, self.store, self.part = project, project.store, project.recipe.judge
        model = self.part.model or project.recipe.endpoint.model
        self.recipe = digest("judge", model, prompt_key(project.recipe, "judge"))[:16]

    def subjects(self) -> list[str]:
        blocked = """AND NOT EXISTS (SELECT 1 FROM flag WHERE flag.answer=answer.id AND blocks=1
                     AND code NOT IN ('not_supported','not_useful'))"""
        rows = current_rows(self.project, f" {blocked} AND answer.origin='model'")
        return [f"{row['id']}/{digest(row['question'], row['answer'])[:8]}" for row in rows]

    def request(self, subject: str) -> dict[str, Any]:
        row = self.store.one(f"{ROWS} AND answer.id=?", subject.partition("/")[0])
        language = row["language"]  # type: ignore[index]
        words = table(language)
        note = words["judge_unanswerable"] if row["type"] == UNANSWERABLE else ""  # type: ignore[index]
        note = words["judge_topic"] if self.project.recipe.ask.kind == "topic" else note
        text = words_of(self.project, chunk_row(self.project, row["chunk"]))  # type: ignore[index]
        slots = {"text": text, "question": row["question"], "answer": row["answer"], "answerable": note}  # type: ignore[index]
        body: dict[str, Any] = {
            "messages": [{"role": "user", "content": fill(prompt_of(self.project.recipe, "judge", language), slots)}]
        }
        return body | {"temperature": 0.0} | ({"model": self.part.model} if self.part.model else {})

    def schema(self, subject: str) -> Mapping[str, Any]:
        return schemas.VERDICT

    def keep(self, subject: str, reply: Reply, call: str) -> None:
        found = read_json(reply.text)
        if not isinstance(found, dict):
            raise BadReply("no_verdict", "the JSON is no object")
        scores = {}
        for axis in AXES:
            try:
                scores[axis] = float(found[axis])
            except (KeyError, TypeError, ValueError):
                raise BadReply("no_verdict", f'the JSON holds no number "{axis}"') from None
            if not 0 <= scores[axis] <= 10:
                raise BadReply("no_verdict", f'"{axis}" must be from 0 to 10')
        answer = subject.partition("/")[0]
        reason = " ".join(str(found.get("reason") or "").split())
        for axis, score in scores.items():
            values = {"score": score, "reason": reason, "judge": reply.model, "recipe": self.recipe, "call": call}
            self.store.put("verdict", answer=answer, axis=axis, **values)


def apply_verdicts(project: Project) -> dict[str, int]:
    """Flag rows whose verdicts are below the recipe's minimum. Returns how many of each."""
    part, store = project.recipe.judge, project.store
    found = {}
    with store.writing() as db:
        db.execute("DELETE FROM flag WHERE code IN ('not_supported', 'not_useful')")
        if part.enabled:
            for axis, least in zip(AXES, (part.min_supported, part.min_useful)):
                sql = """INSERT OR REPLACE INTO flag (answer, code, detail, blocks)
                         SELECT answer, ?, 'score ' || score || ': ' || reason, 1 FROM verdict WHERE axis=? AND score<?"""
                found[FLAGS[axis]] = db.execute(sql, (FLAGS[axis], axis, least)).rowcount
    return found
