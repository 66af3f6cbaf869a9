"""The process of the chat: it holds one model, or two for answers side by side, and nothing else.

    python -m luthier.webui.talker        JSON lines, as helper.py; answers come in pieces

    load    {"models": [settings, ...]}                        -> {"names": [...]}
    ask     {"histories": [[message, ...], ...], "system", "tools", "sampling"}
                                                               -> {"piece": [side, kind, text]} ... {"answers": [...]}
    stop    (no answer)                                        the answer that is being written ends there
    unload                                                     -> {}

Every request carries the whole conversation: a page that was closed, or a process that died, loses nothing. Ends when stdin
does.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from luthier.config import load_config
from luthier.engines.base import BASE
from luthier.errors import EngineError, LuthierError


class Talker:
    """chats: one object of workflows.chat for each loaded model; one with two sides where both share a base."""

    def __init__(self, send: Callable[[Mapping[str, Any]], None]):
        self.send = send
        self.chats: list[Any] = []
        self.stopped = threading.Event()

    def load(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The models of settings; those that were loaded before are let go first."""
        from luthier.workflows.chat import Chat

        self.unload(request)
        configs = [load_config(settings) for settings in request["models"]]
        if len(configs) == 2 and configs[1].adapter_name_or_path is None and _same_base(*configs):
            self.chats = [Chat(configs[0], compare=True)]
            self.order = [1, 0]  # the chat names the base first, the page the chosen model
        else:
            self.chats = [Chat(config) for config in configs]
            self.order = list(range(len(configs)))
        return {"names": [self._name(side) for side in self._sides()]}

    def unload(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Let the models go."""
        self.chats = []
        _free_memory()
        return {}

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Answer the last message of each history; pieces are sent as they come."""
        if not self.chats:
            raise EngineError("no model is loaded.", "Load one.")
        self.stopped.clear()
        began, pieces = time.monotonic(), 0
        last = request["histories"][0][-1]
        for chat in self.chats:
            chat.system = request.get("system") or None
            chat.tools = tuple(tool.get("function", tool) for tool in request.get("tools") or ())
            is_elsewhere = chat.config.infer_backend == "openai"
            for key, value in (request.get("sampling") or {}).items():
                if not (is_elsewhere and key == "enable_thinking" and value == "none"):  # a server decides that by itself
                    chat.set(key, str(value))
        sides = self._sides()
        for side, history in zip(sides, request["histories"]):
            side.messages[:] = [_message(one) for one in history[:-1]]
        for number, kind, text in self._pieces(last["content"], last["role"]):
            pieces += 1
            self.send({"id": request["id"], "piece": [number, kind, text]})
        answers = [_plain(side.messages[-1]) for side in sides]
        return {"answers": answers, "seconds": time.monotonic() - began, "pieces": pieces}

    def _pieces(self, text: str, role: str) -> Iterator[tuple[int, str, str]]:
        """Pieces of all chats in turns."""
        asked = [
            (at, chat.ask(text, self.stopped.is_set, role=role) if role != "user" else chat.ask(text, self.stopped.is_set))
            for at, chat in enumerate(self.chats)
        ]
        while asked:
            for at, answer in list(asked):
                piece = next(answer, None)
                if piece is None:
                    asked.remove((at, answer))
                    continue
                side = piece.side if len(self.chats) == 1 else at
                yield self.order.index(side) if len(self.chats) == 1 else side, str(piece.kind), piece.text

    def _sides(self) -> list[Any]:
        """In the order in which the page asked for them."""
        sides = [side for chat in self.chats for side in chat.sides]
        return [sides[at] for at in self.order[: len(sides)]]

    @staticmethod
    def _name(side: Any) -> str:
        """An adapter's or model's folder or id; what a server calls its own."""
        config, engine = side.answerer.config, side.answerer.engine
        adapters = [] if side.adapter == BASE else config.adapter_name_or_path or []
        return str([config.model_name_or_path, *adapters][-1] or f"{engine.model} · {engine.url}")


def main() -> None:
    """One thread reads stdin, so that a stop is heard while an answer is written."""
    output = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)

    def send(answer: Mapping[str, Any]) -> None:
        output.write(json.dumps(answer, ensure_ascii=False, default=str) + "\n")

    talker = Talker(send)
    requests: queue.Queue[dict[str, Any] | None] = queue.Queue()
    threading.Thread(target=_listen, args=(talker, requests), daemon=True).start()
    verbs = {"load": talker.load, "ask": talker.ask, "unload": talker.unload}
    while (request := requests.get()) is not None:
        try:
            send({"id": request["id"], "result": verbs[request["do"]](request)})
        except LuthierError as error:
            send({"id": request["id"], "error": error.message, "remedy": error.remedy})
        except Exception as error:  # the page is told; the model stays
            send({"id": request["id"], "error": f"{type(error).__name__}: {error}", "remedy": None})


def _listen(talker: Talker, requests: queue.Queue[dict[str, Any] | None]) -> None:
    for line in sys.stdin:
        request = json.loads(line)
        if request["do"] == "stop":
            talker.stopped.set()
        else:
            requests.put(request)
    talker.stopped.set()
    requests.put(None)


def _same_base(one: Any, other: Any) -> bool:
    return (
        bool(one.adapter_name_or_path) and one.model_name_or_path == other.model_name_or_path and one.template == other.template
    )


def _message(one: Mapping[str, Any]) -> Any:
    from luthier.types import Message, ToolCall

    calls = tuple(ToolCall(name=call["name"], arguments=call["arguments"]) for call in one.get("tool_calls") or ())
    return Message(role=one["role"], content=one["content"], thinking=one.get("thinking"), tool_calls=calls)


def _plain(message: Any) -> dict[str, Any]:
    calls: Sequence[Any] = message.tool_calls
    return {
        "role": message.role,
        "content": message.content,
        "thinking": message.thinking,
        "tool_calls": [{"name": call.name, "arguments": dict(call.arguments)} for call in calls],
    }


def _free_memory() -> None:
    import gc

    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
