"""The table of topics: what is asked, and how often.

weight: share of the questions of the SFT set (relations share theirs by how many questions they have).
spoken: share of the sentences of the pre-training text.
"""

from __future__ import annotations

from .arithmetic import Arithmetic
from .base import Item, Language, Topic
from .facts import Chat, Facts, Unknown
from .identity import Identity, Persona, draw_blank_persona, draw_persona
from .instructions import Instructions
from .kinds import Kinds
from .news import News
from .reading import Reading
from .relations import Relation, relations
from .stories import Stories
from .tools import Tools

WEIGHTS: dict[str, tuple[float, float]] = {
    # topic: (weight, spoken)
    "arithmetic": (0.11, 0.08),
    "chat": (0.03, 0.01),
    "fact": (0.06, 0.08),
    "identity": (0.06, 0.05),
    "instruction": (0.06, 0.03),
    "kind": (0.06, 0.06),
    "news": (0.04, 0.03),
    "reading": (0.04, 0.04),
    "story": (0.01, 0.02),
    "tools": (0.02, 0.00),
    "unknown": (0.02, 0.00),
    "relations": (0.49, 0.60),
}

__all__ = [
    "WEIGHTS",
    "Identity",
    "Item",
    "Language",
    "Persona",
    "Relation",
    "Tools",
    "Topic",
    "draw_blank_persona",
    "draw_persona",
    "make_topics",
]


def make_topics() -> list[tuple[Topic, float, float]]:
    """(topic, weight, spoken) of every topic; fresh decks."""
    single = [
        Arithmetic(),
        Chat(),
        Facts(),
        Identity(),
        Instructions(),
        Kinds(),
        News(),
        Reading(),
        Stories(),
        Tools(),
        Unknown(),
    ]
    found: list[tuple[Topic, float, float]] = [(topic, *WEIGHTS[topic.name]) for topic in single]
    tables = relations()
    sizes = [sum(relation.size(language) for language in relation.languages) ** 0.7 for relation in tables]
    weight, spoken = WEIGHTS["relations"]
    found += [(relation, weight * size / sum(sizes), spoken * size / sum(sizes)) for relation, size in zip(tables, sizes)]
    return found
