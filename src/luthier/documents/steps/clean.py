"""Cleaning by a model, only where the recipe asks for it (clean.model). What changes a number, a name or code is not accepted.

The stored text of a document never changes; the cleaned words of a chunk are kept beside it, and cleaning_of shows the
difference.
"""

from __future__ import annotations

from typing import Any

from luthier.documents.base import digest, shorten
from luthier.documents.filters import LIST_NUMBER, NAME, NUMBER
from luthier.documents.jobs.reply import BadReply, Reply
from luthier.documents.project import Project
from luthier.documents.prompts import fill, prompt_key, prompt_of
from luthier.documents.steps.ask import chunk_row, words_of
from luthier.documents.steps.chunk import model_clean_key

SHORTEST, LONGEST = 0.5, 1.3


class Clean:
    """The Work of cleaning. A subject is a chunk id."""

    stage = "clean"

    def __init__(self, project: Project):
        self.project, self.store = project, project.store
        self.key = model_clean_key(project)
        self.recipe = digest("clean", self.key, prompt_key(project.recipe, "clean"), project.recipe.endpoint.model)[:16]

    def subjects(self) -> list[str]:
        """Chunks whose words are not those of this recipe are asked again; what was answered comes from the store."""
        again = """UPDATE unit SET state='queued' WHERE stage='clean' AND recipe=? AND state='done'
                   AND subject IN (SELECT id FROM chunk WHERE clean_key IS NOT ?)"""
        self.store.write(again, self.recipe, self.key)
        return [row["id"] for row in self.store.all("SELECT id FROM chunk WHERE state='current' ORDER BY doc, start")]

    def request(self, subject: str) -> dict[str, Any]:
        row = chunk_row(self.project, subject)
        prompt = prompt_of(self.project.recipe, "clean", row["language"])
        return {
            "messages": [{"role": "user", "content": fill(prompt, {"text": words_of(self.project, row)})}],
            "temperature": 0.0,
        }

    def schema(self, subject: str) -> None:
        return None

    def keep(self, subject: str, reply: Reply, call: str) -> None:
        row = chunk_row(self.project, subject)
        before, after = words_of(self.project, row), reply.text.strip()
        if after.startswith("<text>"):
            after = after.removeprefix("<text>").removesuffix("</text>").strip()
        require_same_facts(before, after)
        self.store.write("UPDATE chunk SET cleaned=?, clean_key=? WHERE id=?", after, self.key, subject)


def require_same_facts(before: str, after: str) -> None:
    """Raises BadReply where a number, a name or a piece of code came or went, or where much text did."""
    if not SHORTEST * len(before) <= len(after) <= LONGEST * len(before) + 40:
        raise BadReply("length_changed", f"the text had {len(before)} characters and now has {len(after)}; only tidy it")
    for pattern, what in ((NUMBER, "numbers"), (NAME, "names or code")):
        old, new = _found(pattern, before), _found(pattern, after)
        if changed := old ^ new:
            raise BadReply("facts_changed", f"these {what} came or went: {shorten(', '.join(sorted(changed)))}; keep every one")


def _found(pattern: Any, text: str) -> set[str]:
    matches = pattern.findall(LIST_NUMBER.sub("", text))
    return {"".join(match) if isinstance(match, tuple) else match.rstrip(".,:") for match in matches}
