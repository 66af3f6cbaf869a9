"""Step 4 with a model: questions about each chunk. One call a chunk (and persona); how many, of which kinds, is the
recipe's."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from luthier.documents.base import digest
from luthier.documents.jobs import schemas
from luthier.documents.jobs.reply import BadReply, Reply, read_json
from luthier.documents.project import Project
from luthier.documents.prompts import fill, prompt_key, prompt_of, table
from luthier.documents.steps.chunk import chunk_of, shown

ASK_VERSION = "1"
UNANSWERABLE = "unanswerable"


class Ask:
    """The Work of asking. A subject is a chunk id, with a persona's number after a slash where there are several."""

    stage = "ask"

    def __init__(self, project: Project):
        self.project, self.store, self.ask = project, project.store, project.recipe.ask
        endpoint = project.recipe.endpoint
        shape = [endpoint.model, str(endpoint.temperature), json.dumps(dict(endpoint.extra_body), sort_keys=True)]
        self.recipe = digest(
            ASK_VERSION, self.ask.key(), project.recipe.clean.key(), prompt_key(project.recipe, "ask"), *shape
        )[:16]

    def subjects(self) -> list[str]:
        personas = max(1, len(self.ask.personas))
        sql = """SELECT chunk.id FROM chunk JOIN document ON document.id=chunk.doc WHERE chunk.state='current'
                 AND document.state='parsed' ORDER BY document.name, chunk.start"""
        return [f"{row['id']}/{number}" for row in self.store.all(sql) for number in range(personas)]

    def request(self, subject: str) -> dict[str, Any]:
        row, persona = self._row(subject)
        language = row["language"]
        words = table(language)
        text = words_of(self.project, row)
        count = self.count(text)
        unanswerable = self._unanswerable(subject, count)
        name = self.ask.personas[persona] if self.ask.personas else ""
        slots = {
            "kind": words["kinds"][self.ask.kind],
            "title": row["title"],
            "section": " > ".join(json.loads(row["path"])),
            "text": text,
            "count": count,
            "types": mix(self.ask.types),
            "difficulties": mix(self.ask.difficulties),
            "persona": fill(words["persona"], {"name": name}) if name else "",
            "unanswerable_note": fill(words["unanswerable_note"], {"unanswerable": unanswerable}) if unanswerable else "",
        }
        return {"messages": [{"role": "user", "content": fill(prompt_of(self.project.recipe, "ask", language), slots)}]}

    def schema(self, subject: str) -> Mapping[str, Any]:
        return schemas.questions(self.count(words_of(self.project, self._row(subject)[0])))

    def keep(self, subject: str, reply: Reply, call: str) -> None:
        row, persona = self._row(subject)
        found = read_json(reply.text)
        found = (
            next((value for value in found.values() if isinstance(value, list)), [found]) if isinstance(found, dict) else found
        )
        asked = [item for item in found if isinstance(item, dict) and str(item.get("question") or "").strip()]
        if not asked:
            raise BadReply("no_question", 'the JSON holds no object with "question"')
        name = self.ask.personas[persona] if self.ask.personas else ""
        for ordinal, item in enumerate(asked[: self.count(words_of(self.project, row))]):
            text = " ".join(str(item["question"]).split())
            id = digest(row["id"], self.recipe, text)[:20]
            held = int(digest(str(self.project.recipe.seed), id)[:8], 16) / 0xFFFFFFFF < self.ask.held_out
            self.store.put(
                "question",
                id=id,
                chunk=row["id"],
                ordinal=persona * 100 + ordinal,
                text=text,
                type=str(item.get("type") or "").strip().lower() or "fact",
                difficulty=str(item.get("difficulty") or "").strip().lower(),
                persona=name,
                origin="model",
                recipe=self.recipe,
                held_out=int(held),
            )

    def count(self, text: str) -> int:
        return min(self.ask.max_per_chunk, max(1, round(len(text) / 1000 * self.ask.per_1000_chars)))

    def _unanswerable(self, subject: str, count: int) -> int:
        """So many of this chunk's questions that the share holds over all chunks; decided by a hash, so always the same."""
        share = self.ask.unanswerable * count
        chance = int(digest(str(self.project.recipe.seed), subject)[:8], 16) / 0xFFFFFFFF
        return int(share) + (chance < share - int(share))

    def _row(self, subject: str) -> tuple[Any, int]:
        id, _, persona = subject.partition("/")
        return chunk_row(self.project, id), int(persona or 0)


def chunk_row(project: Project, id: str) -> Any:
    sql = """SELECT chunk.*, document.title, document.language, document.text_sha, document.name FROM chunk
             JOIN document ON document.id=chunk.doc WHERE chunk.id=?"""
    return project.store.one(sql, id)


def words_of(project: Project, row: Any) -> str:
    """The words of a chunk as a model is shown them."""
    if row["cleaned"] is not None:
        return row["cleaned"]
    chunk = chunk_of(row)
    return shown(project.text(row["text_sha"]), chunk.start, chunk.end, chunk.prefix)


def mix(weights: Mapping[str, float] | Sequence[str]) -> str:
    """{"fact": 3, "why": 1} -> "fact 75%, why 25%"."""
    if not isinstance(weights, Mapping):
        return ", ".join(weights)
    total = sum(weights.values()) or 1
    return ", ".join(f"{name} {weight / total:.0%}" for name, weight in weights.items() if weight)
