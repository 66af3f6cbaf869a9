"""Tool calls: a request, the call as JSON, what the tool gave back, and the reply; also chats where no tool is needed."""

from __future__ import annotations

import json
import random
from typing import Any

from .arithmetic import draw_sum
from .base import Item, Language, capital, table


class Tools:
    """One to three tools are offered, one is called. Turns are in sharegpt roles (human, function_call, observation, gpt)."""

    name = "tools"

    def __init__(self) -> None:
        self._spec = table("tools")

    def draw(self, rng: random.Random, language: Language) -> Item:
        names = rng.sample(list(self._spec["tools"]), rng.choice((1, 1, 1, 2, 2, 3)))
        called = self._spec["tools"][names[0]][language]
        slots = self._slots(rng, language)
        arguments = {name: called.get("slots", {}).get(name, f"{{{name}}}").format(**slots) for name in called["parameters"]}
        ask = rng.choice(called["ask"]).format(**slots)
        call = json.dumps({"name": names[0], "arguments": arguments}, ensure_ascii=False)
        offered = [describe(name, self._spec["tools"][name][language]) for name in sorted(names, key=lambda _: rng.random())]
        reply = capital(called["reply"].format(**slots))
        turns = [("human", ask), ("function_call", call)]
        if rng.random() < 0.6:
            turns += [("observation", called["result"].format(**slots)), ("gpt", reply)]
        return Item(
            topic=self.name,
            language=language,
            question=ask,
            answer=call,
            key=f'"{names[0]}"',
            turns=tuple(turns),
            tools=json.dumps(offered, ensure_ascii=False),
        )

    def say(self, rng: random.Random, language: Language) -> str:
        return ""

    def offer(self, rng: random.Random, language: Language) -> str:
        """JSON of one tool, for a chat in which it is not needed."""
        name = rng.choice(list(self._spec["tools"]))
        return json.dumps([describe(name, self._spec["tools"][name][language])], ensure_ascii=False)

    def _slots(self, rng: random.Random, language: Language) -> dict[str, str]:
        slots = {
            name.removesuffix(f"_{language}"): rng.choice(words)
            for name, words in self._spec["fill"].items()
            if name.endswith(language)
        }
        a, sign, b, total = draw_sum(rng)
        slots |= {"to": rng.choice(table("names")[f"people_{language}"]), "sum": f"{a} {sign} {b}", "total": str(total)}
        return slots | {"degrees": str(rng.randint(-5, 35)), "hits": str(rng.randint(2, 99))}


def describe(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    """The function description that a chat request carries."""
    properties = {slot: {"type": "string", "description": text} for slot, text in spec["parameters"].items()}
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    return {"name": name, "description": spec["description"], "parameters": parameters}
