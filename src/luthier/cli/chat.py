"""`luthier chat`: the terminal around workflows/chat.py.

What enters: the words after the verb, then what a person types, or the lines of a pipe. What leaves: answers on stdout, and
everything else on stderr.
"""

from __future__ import annotations

import contextlib
import json
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from luthier.cli.arguments import take_flags
from luthier.cli.lines import BLOCK, Line, read_lines
from luthier.config import load_config
from luthier.errors import ConfigError, LuthierError

if TYPE_CHECKING:
    from luthier.workflows.chat import Chat

DIM, BOLD, PLAIN = "\x1b[2m", "\x1b[1m", "\x1b[0m"
LIVE_PER_SECOND = 8
FOLDED = "thinking: {} characters   (/thinking shows them)"

HELP = """Say something, or:
  /system TEXT      what the model is told first (/system alone shows it, /system - takes it away)
  /clear            forget what was said             /undo    forget the last question and its answer
  /retry            ask the last question again      /save FILE.jsonl   add the conversation to a training file
  /set KEY=VALUE    temperature=0.7, top_p, top_k, min_p, max_new_tokens, do_sample, repetition_penalty, seed, stop,
                    enable_thinking=off ... (/set alone shows all)
  /adapter NAME     answer with another adapter: a folder, or "base" for none (/adapter alone lists them)
  /tools FILE.json  offer tools                      /tool TEXT   the result of a tool call
  /thinking         the reasoning before the last answer (/thinking on shows it as it comes, /thinking off folds it)
  /help             this                             /exit    or Ctrl-D
Several lines: end a line with \\, or write them between two lines of \"\"\". Ctrl-C stops an answer."""


def command(argv: list[str]) -> int:
    """luthier chat [CONFIG.yaml] [--model_name_or_path M] [--adapter_name_or_path A] [--template T] [--key value ...]
                    [--compare] [--json]

    Talks to a model in the terminal; without a name, to the bundled starter. The base of an adapter and the template it was
    trained with are known from its folder. /help in the chat lists what can be typed.

      --compare  answer with the base and the tuned model side by side
      --json     one JSON object an answer: {"answers": [{"side", "content", "thinking", "tool_calls"}]}

    From a pipe every line is a message, and stdout gets the answers only:
      echo "Who are you?" | luthier chat --model_name_or_path starter --do_sample false

    Examples:
      luthier chat
      luthier chat --adapter_name_or_path saves/lora/sft --compare --temperature 0.5
    """
    words, flags = take_flags(argv, "--compare", "--json")
    config = load_config(words)
    from luthier.workflows.chat import Chat

    chat = Chat(config, compare="--compare" in flags)
    terminal = Terminal(chat, as_json="--json" in flags)
    return terminal.run()


class Terminal:
    """Reads messages and commands, shows answers as they come."""

    def __init__(self, chat: Chat, as_json: bool = False):
        self.chat, self.as_json = chat, as_json
        self.is_typed = sys.stdin.isatty()
        self.is_shown = sys.stdout.isatty() and not as_json
        self.is_unfolded = False  # whether reasoning is shown as it comes
        self._problems = 0

    def run(self) -> int:
        """Until /exit or the end of input; 2 where a line of a pipe could not be done."""
        if self.is_typed:
            for side in self.chat.sides:
                _say(side.answerer.describes)
            _say("/help lists what you can type, /exit or Ctrl-D ends.")
        for line in read_lines(self.is_typed):
            try:
                if not self._handle(line):
                    break
            except LuthierError as error:
                self._problems += 1
                _say(f"{type(error).__name__}: {error}")
        return 2 if self._problems and not self.is_typed else 0

    # ---- commands ----

    def _handle(self, line: Line) -> bool:
        """Do what was typed; False to end."""
        if line.is_block or not line.text.startswith("/"):
            self._answer(line.text)
            return True
        name, _, rest = line.text.partition(" ")
        if name in ("/exit", "/quit", "/q"):
            return False
        commands: dict[str, Callable[[str], None]] = {
            "/help": lambda _: _say(HELP),
            "/system": self._system,
            "/clear": self._clear,
            "/undo": lambda _: _say("Forgotten." if self.chat.undo() else "Nothing was said yet."),
            "/retry": self._retry,
            "/save": self._save,
            "/set": self._set,
            "/adapter": self._adapter,
            "/thinking": self._thinking,
            "/tools": self._tools,
            "/tool": lambda result: self._answer(result, role="tool"),
        }
        if name not in commands:
            raise ConfigError(
                f"there is no command {name}.", f"/help lists them. A message that begins with a slash goes between {BLOCK}"
            )
        commands[name](rest.strip())
        return True

    def _system(self, text: str) -> None:
        if text:
            self.chat.system = None if text == "-" else text
        _say(f"system: {self.chat.system or '(none)'}")

    def _clear(self, _: str) -> None:
        self.chat.clear()
        _say("Forgotten." + (" The system message stays." if self.chat.system else ""))

    def _retry(self, _: str) -> None:
        asked = self.chat.undo()
        if asked is None:
            raise ConfigError("nothing was said yet.")
        self._answer(asked)

    def _save(self, file: str) -> None:
        if not file:
            raise ConfigError("/save needs a file.", "/save talk.jsonl")
        count = self.chat.save(file)
        _say(f"{file} holds {count} conversation{'s' if count > 1 else ''}: luthier train --dataset {file} ...")

    def _set(self, text: str) -> None:
        for pair in text.split() if not text.startswith("stop") else [text]:
            key, equals, value = pair.partition("=")
            if not equals:
                raise ConfigError(f"/set takes KEY=VALUE, not {pair}.", "/set temperature=0.7")
            _say(f"{key} = {self.chat.set(key, value)}")
        if not text:
            _say("\n".join(f"{key} = {value}" for key, value in asdict(self.chat.sampling).items()))

    def _adapter(self, name: str) -> None:
        if name:
            _say(f"answering with {self.chat.use_adapter(name)}")
            return
        _say("\n".join(f"{'*' if label == self.chat.using else ' '} {label}" for label in [*self.chat.adapters, "base"]))

    def _tools(self, file: str) -> None:
        count = self.chat.load_tools(file)
        _say(f"{count} tool{'s are' if count != 1 else ' is'} offered.")

    def _thinking(self, wish: str) -> None:
        if wish in ("on", "off"):
            self.is_unfolded = wish == "on"
            _say("reasoning is shown as it comes" if self.is_unfolded else "reasoning is folded")
            return
        thoughts = [message.thinking for side in self.chat.sides for message in side.messages[-1:] if message.thinking]
        _say("\n\n".join(thoughts) or "There was no reasoning.")

    # ---- answers ----

    def _answer(self, text: str, role: str = "user") -> None:
        shows = self._show_columns if len(self.chat.sides) > 1 and self.is_shown else self._show_lines
        with stoppable() as stopped:
            shows(text, role, stopped)
            if stopped() and self.is_typed:
                _say("(stopped)")
        if self.as_json:
            print(json.dumps({"answers": [self._as_json(side) for side in self.chat.sides]}, ensure_ascii=False), flush=True)
            return
        for side in self.chat.sides:
            for call in side.messages[-1].tool_calls:
                _say(f"calls {call.name}({json.dumps(dict(call.arguments), ensure_ascii=False)})   answer it with /tool RESULT")

    def _show_lines(self, text: str, role: str, stopped: Callable[[], bool]) -> None:
        """One answer as it comes; several one after another, each with its name."""
        several = len(self.chat.sides) > 1
        texts = ["" for _ in self.chat.sides]
        kind, thought = None, ""
        for piece in self.chat.ask(text, stopped, role=role):
            if several or self.as_json:
                texts[piece.side] += piece.text if piece.kind == "words" else ""
                continue
            if piece.kind == "thinking" and not self.is_shown:
                continue
            if piece.kind != kind and self.is_shown:
                print((PLAIN + "\n\n" if kind else "") + (DIM if piece.kind == "thinking" else PLAIN), end="")
            kind = piece.kind
            if kind == "thinking" and not self.is_unfolded:
                thought += piece.text
                print(f"\r{FOLDED.format(len(thought.strip()))}", end="", flush=True)
                continue
            print(piece.text, end="", flush=True)
        if self.as_json:
            return
        if several:
            print("\n".join(f"[{side.name}] {answer}" for side, answer in zip(self.chat.sides, texts)), flush=True)
        else:
            print(PLAIN if self.is_shown else "", flush=True)

    def _show_columns(self, text: str, role: str, stopped: Callable[[], bool]) -> None:
        """Both answers grow side by side."""
        from rich.console import Console
        from rich.live import Live
        from rich.table import Table
        from rich.text import Text

        answers = [Text() for _ in self.chat.sides]
        table = Table(*(side.name for side in self.chat.sides), expand=True)
        table.add_row(*answers)
        with Live(table, console=Console(), refresh_per_second=LIVE_PER_SECOND, vertical_overflow="visible"):
            for piece in self.chat.ask(text, stopped, role=role):
                answers[piece.side].append(piece.text, style="dim" if piece.kind == "thinking" else None)

    def _as_json(self, side: Any) -> dict[str, Any]:
        message = side.messages[-1]
        calls = [{"name": call.name, "arguments": dict(call.arguments)} for call in message.tool_calls]
        return {"side": side.name, "content": message.content, "thinking": message.thinking, "tool_calls": calls}


@contextlib.contextmanager
def stoppable() -> Iterator[Callable[[], bool]]:
    """Within it Ctrl-C only sets what the given function tells."""
    asked: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: asked.append(number))
    try:
        yield lambda: bool(asked)
    finally:
        signal.signal(signal.SIGINT, before)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
