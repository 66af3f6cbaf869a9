"""Conversations, commands, adapters and side-by-side answers; as a library and as a command with a pipe."""

import contextlib
import io
import json
import logging
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luthier.cli import main
from luthier.cli.lines import join_lines
from luthier.config import load_config
from luthier.datasets import read_samples
from luthier.engines.base import Sampling
from luthier.errors import ConfigError, DataError, EngineError, ModelError
from luthier.types import Conversation, Message
from luthier.workflows.chat import Chat
from luthier.workflows.thinking_stream import ThinkingSplitter


def config_of(**keys):
    return load_config({"do_sample": False, "max_new_tokens": 8, **keys})


@pytest.fixture
def chat(adapters):
    """Base and template come from the adapter's folder."""
    return Chat(config_of(adapter_name_or_path=str(adapters[0])))


def said(chat, text, **options):
    return "".join(piece.text for piece in chat.ask(text, **options))


def expected(chat, messages, **options):
    """The answer of the engine to the whole conversation so far."""
    side = chat.sides[-1]
    prompt = side.answerer.template.encode_prompt(Conversation(messages=messages))
    return next(side.answerer.engine.generate([prompt], chat.sampling, **options)).text


def test_the_history_and_the_system_message_are_told_again(chat):
    assert chat.sides[0].answerer.template.name == "qwen"
    chat.system = "Be kind."
    first = said(chat, "Hi")
    system, hi = Message(role="system", content="Be kind."), Message(role="user", content="Hi")
    assert first == expected(chat, (system, hi))
    second = said(chat, "And?")
    told = (system, hi, Message(role="assistant", content=first), Message(role="user", content="And?"))
    assert second == expected(chat, told)
    assert chat.undo() == "And?"
    assert said(chat, "And?") == second
    chat.clear()
    assert said(chat, "Hi") == first
    chat.clear()
    assert chat.undo() is None


def test_a_cancelled_answer_stays_and_a_failed_question_is_forgotten(chat):
    pieces = []
    chat.sampling = Sampling(do_sample=False, max_new_tokens=100)
    for piece in chat.ask("Hi", lambda: len(pieces) > 2):
        pieces.append(piece.text)
    assert len(pieces) < 60
    assert chat.sides[0].messages[-1] == Message(role="assistant", content="".join(pieces))
    with pytest.raises(EngineError, match="the model's context is 512"):
        said(chat, "Hi " * 600)
    assert [message.role for message in chat.sides[0].messages] == ["user", "assistant"]


def test_base_and_tuned_answer_side_by_side_and_remember_their_own_words(adapters, chat):
    both = Chat(config_of(adapter_name_or_path=str(adapters[0])), compare=True)
    texts = ["", ""]
    order = []
    for piece in both.ask("Hi"):
        texts[piece.side] += piece.text
        order.append(piece.side)
    assert [side.name for side in both.sides] == ["base", "tuned"]
    assert texts[1] == said(chat, "Hi") != texts[0]
    assert order != sorted(order)  # both come at once
    chat.use_adapter("base")
    chat.clear()
    assert said(chat, "Hi") == texts[0]
    assert [side.messages[-1].content for side in both.sides] == texts


def test_adapters_are_switched_live(chat, adapters, tiny_folder):
    answers = {"tuned1": said(chat, "Hi")}
    for name in (str(adapters[1]), "base", "tuned1", "tuned2"):
        chat.clear()
        label = chat.use_adapter(name)
        text = said(chat, "Hi")
        assert answers.setdefault(label, text) == text
        assert chat.using == label
    assert len(set(answers.values())) == 3
    plain = Chat(config_of(model_name_or_path=str(tiny_folder), template="qwen"))
    assert said(plain, "Hi") == answers["base"]
    assert plain.use_adapter(str(adapters[0])) == "tuned1"
    plain.clear()
    assert said(plain, "Hi") == answers["tuned1"]
    plain.use_adapter("base")
    plain.clear()
    assert said(plain, "Hi") == answers["base"]


def test_an_adapter_of_another_model_is_refused_and_the_chat_goes_on(chat, adapters, tmp_path):
    from peft import LoraConfig, get_peft_model

    from tests.conftest import make_tiny

    before = said(chat, "Hi")
    get_peft_model(make_tiny("qwen3", hidden_size=16), LoraConfig(target_modules=["q_proj"])).save_pretrained(
        tmp_path / "other"
    )
    with pytest.raises(ModelError, match="does not fit"):
        chat.use_adapter(str(tmp_path / "other"))
    chat.clear()
    assert said(chat, "Hi") == before
    with pytest.raises(ModelError, match="does not exist"):
        chat.use_adapter("./nowhere")


def test_there_must_be_something_to_compare(tiny_folder):
    with pytest.raises(ConfigError, match="nothing to compare"):
        Chat(config_of(model_name_or_path=str(tiny_folder)), compare=True)


def test_a_whole_model_is_compared_with_the_base_that_its_training_recorded(tiny_folder, tmp_path):
    import shutil

    tuned = shutil.copytree(tiny_folder, tmp_path / "tuned")
    (tuned / "luthier.json").write_text(json.dumps({"template": {"template": "qwen"}, "base_model": str(tiny_folder)}))
    both = Chat(config_of(model_name_or_path=str(tuned)), compare=True)
    said(both, "Hi")
    assert both.sides[0].answerer.config.model_name_or_path == str(tiny_folder)
    assert both.sides[0].messages == both.sides[1].messages


@pytest.mark.parametrize("name", ["talk.jsonl", "talk.json"])
def test_saved_conversations_are_a_dataset(chat, tmp_path, name):
    file = tmp_path / name
    with pytest.raises(DataError, match="nothing was said"):
        chat.save(file)
    chat.system = "Be kind."
    said(chat, "Hi")
    assert chat.save(file) == 1
    said(chat, "And?")
    assert chat.save(file) == 2
    samples = list(read_samples(load_config({"dataset": str(file)}), wants=Conversation))
    assert samples[1].messages == (Message(role="system", content="Be kind."), *chat.sides[0].messages)
    (tmp_path / "other.jsonl").write_text('{"text": "a"}\n')
    with pytest.raises(DataError, match="other rows than conversations"):
        chat.save(tmp_path / "other.jsonl")
    with pytest.raises(DataError, match=r"neither .json nor .jsonl"):
        chat.save(tmp_path / "talk.txt")


def test_settings_are_read_by_kind_and_checked(chat):
    assert chat.set("temperature", "0.5") == 0.5
    assert chat.set("do_sample", "on") is True
    assert chat.set("seed", "none") is None
    assert chat.set("stop", '["\\n", "END"]') == ("\n", "END")
    assert chat.set("max_new_tokens", "5") == 5
    with pytest.raises(ConfigError, match=r'no setting "temprature"(?s:.*)Did you mean "temperature"'):
        chat.set("temprature", "1")
    with pytest.raises(ConfigError, match="top_k takes int"):
        chat.set("top_k", "many")
    with pytest.raises(EngineError, match="top_p is 7"):
        chat.set("top_p", "7")
    assert chat.sampling.top_p == 0.7


def test_thinking_is_switched_for_the_next_question(tiny_folder):
    chat = Chat(config_of(model_name_or_path=str(tiny_folder)))
    conversation = Conversation(messages=(Message(role="user", content="Hi"),))
    ends = []
    for value in ("on", "off"):
        chat.set("enable_thinking", value)
        template = chat.sides[0].answerer.template
        ends.append(chat.sides[0].answerer.tokenizer.decode(template.encode_prompt(conversation)[-6:]))
    assert ends[0].endswith("<think>\n")
    assert ends[1].endswith("</think>\n\n")
    chat.set("enable_thinking", "on")
    assert {piece.kind for piece in chat.ask("Hi")} == {"thinking"}  # its prompt has opened the reasoning already


@given(st.lists(st.sampled_from(["<think>", "</think>", "<", "/", "th", "ink>", "\n", "a ", "b"]), max_size=14))
def test_reasoning_is_told_from_words_however_the_pieces_fall(pieces):
    """Against the plain way, on the whole text: reasoning only at the beginning, up to the first closing tag."""
    splitter, found = ThinkingSplitter(), {"thinking": "", "words": ""}
    for piece in pieces:
        for kind, text in splitter.push(piece):
            found[kind] += text
    for kind, text in splitter.flush():
        found[kind] += text
    whole = "".join(pieces)
    if whole.lstrip().startswith("<think>"):
        thinking, _, words = whole.lstrip().removeprefix("<think>").partition("</think>")
        assert found["thinking"].strip() == thinking.strip()
        assert found["words"].strip() == words.strip()
    else:
        assert found == {"thinking": "", "words": whole}


def test_lines_are_joined_into_messages():
    lines = ["one", "", "two \\", "more", '"""', "/not a command", "", "end", '"""', '"""short"""', "/exit"]
    assert [(line.text, line.is_block) for line in join_lines(lines)] == [
        ("one", False), ("two \nmore", False), ("/not a command\n\nend", True), ("short", True), ("/exit", False),
    ]  # fmt: skip


def test_a_tool_is_called_and_its_result_read(adapters, tmp_path, monkeypatch):
    chat = Chat(config_of(adapter_name_or_path=str(adapters[0])))
    file = tmp_path / "tools.json"
    function = {"name": "look_up", "description": "d", "parameters": {"type": "object", "properties": {}}}
    file.write_text(json.dumps([{"type": "function", "function": function}]))
    assert chat.load_tools(file) == 1
    call = '<tool_call>\n{"name": "look_up", "arguments": {"place": "Köln"}}\n</tool_call>'
    monkeypatch.setattr(chat.sides[0].answerer.engine, "stream", lambda *args, **options: iter(["Let me see. ", *call]))
    assert said(chat, "Where?") == "Let me see."
    assert [(each.name, each.arguments) for each in chat.sides[0].messages[-1].tool_calls] == [("look_up", {"place": "Köln"})]
    monkeypatch.undo()
    said(chat, '{"found": 1}', role="tool")
    assert [message.role for message in chat.sides[0].messages] == ["user", "assistant", "tool", "assistant"]
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(DataError, match="cannot be read"):
        chat.load_tools(tmp_path / "bad.json")


def piped(script, monkeypatch, *words):
    """Run the command in this process with script as its stdin; the exit code."""
    monkeypatch.setattr(sys, "stdin", io.StringIO(script))
    return main(["chat", "do_sample=false", "max_new_tokens=8", *map(str, words)])


def test_a_pipe_gets_answers_on_stdout_and_nothing_else(adapters, chat, tmp_path, monkeypatch, capsys):
    script = f"Hi\n/system Be kind.\n/clear\n/nonsense\n/save {tmp_path}/talk.jsonl\nHi\n/save {tmp_path}/talk.jsonl\n/exit\nHi"
    assert piped(script, monkeypatch, f"adapter_name_or_path={adapters[0]}") == 2
    shown = capsys.readouterr()
    plain = said(chat, "Hi")
    chat.clear()
    chat.system = "Be kind."
    assert shown.out == f"{plain}\n{said(chat, 'Hi')}\n"
    assert "there is no command /nonsense" in shown.err
    assert "nothing was said yet" in shown.err
    assert len((tmp_path / "talk.jsonl").read_text().splitlines()) == 1


def test_commands_answer_on_stderr(adapters, monkeypatch, capsys):
    script = f"/adapter\n/adapter {adapters[1]}\n/set temperature=0.5 top_k=3\n/set\n/help\nHi\n/retry\n/undo\n/undo\n"
    assert piped(script, monkeypatch, f"adapter_name_or_path={adapters[0]}", "seed=1") == 0
    shown = capsys.readouterr()
    first, again = shown.out.splitlines()
    assert first == again
    for words in (
        "* tuned1\n  base",
        "answering with tuned2",
        "top_k = 3",
        "min_p = 0.0",
        "/exit",
        "Forgotten.",
        "Nothing was said",
    ):
        assert words in shown.err


def test_json_for_scripts(adapters, monkeypatch, capsys):
    assert piped("Hi\n", monkeypatch, f"adapter_name_or_path={adapters[0]}", "--compare", "--json", "-q") == 0
    answers = json.loads(capsys.readouterr().out)["answers"]
    assert [answer["side"] for answer in answers] == ["base", "tuned"]
    assert all(answer["content"] for answer in answers)


@pytest.mark.slow
def test_control_c_in_a_terminal_stops_only_the_answer(adapters, tmp_path):
    """Through a real pseudo-terminal: a long answer is stopped, the next question is answered, Ctrl-D ends."""
    with typing(tmp_path, "max_new_tokens=400", f"adapter_name_or_path={adapters[0]}") as (process, screen):
        screen.type("Hi")
        screen.wait_for("\x1b[0m")  # the answer has begun
        os.kill(process.pid, signal.SIGINT)
        screen.wait_for("(stopped)")
        for typed, shown in (("/set max_new_tokens=3", "max_new_tokens = 3"), ("Again", "\x1b[0m")):
            screen.type(typed)
            screen.wait_for(shown)
        screen.wait_for("> ")
        os.write(screen.handle, b"\x04")
        assert process.wait(60) == 0


@pytest.mark.slow
def test_a_conversation_typed_in_a_terminal(adapters, tmp_path):
    """Several lines, sampling and adapter changed between answers, reasoning folded, the talk saved as a training's rows."""
    words = ("max_new_tokens=4", "do_sample=false", f"adapter_name_or_path={adapters[0]}")
    with typing(tmp_path, *words) as (process, screen):
        for typed, shown in (
            ("/adapter", "* tuned1"),
            ('"""/first line', ""), ("second line", ""), ('third"""', "\x1b[0m"),
            ("/set temperature=0.5 do_sample=on", "do_sample = True"),
            (f"/adapter {adapters[1]}", "answering with tuned2"),
            ("one \\", ""), ("two", "\x1b[0m"),
            ("/adapter base", "answering with base"),
            ("/thinking on", "shown as it comes"), ("/thinking off", "is folded"), ("/thinking", ""),
            ("/nothing", "no command /nothing"),
            ("/save talk.jsonl", "talk.jsonl holds 1 conversation"),
        ):  # fmt: skip
            screen.type(typed, waiting=not typed.startswith(("second", "third", "two")))
            if shown:
                screen.wait_for(shown)
        screen.type("/exit")
        assert process.wait(60) == 0
    row = json.loads((tmp_path / "talk.jsonl").read_text())
    asked = [turn["value"] for turn in row["conversations"] if turn["from"] == "human"]
    assert asked == ["/first line\nsecond line\nthird", "one \ntwo"]
    (read,) = read_samples(config_of(), [str(tmp_path / "talk.jsonl")], wants=Conversation)
    assert [message.role for message in read.messages] == ["user", "assistant"] * 2


@pytest.mark.slow
def test_two_answers_grow_side_by_side_in_a_terminal(adapters, tmp_path):
    with typing(tmp_path, "--compare", "max_new_tokens=4", f"adapter_name_or_path={adapters[0]}") as (process, screen):
        screen.type("Hi")
        for shown in ("base", "tuned"):
            screen.wait_for(shown)
        screen.type("/exit")
        assert process.wait(60) == 0


CALLED = [
    {"reasoning_content": "They ask "},
    {"reasoning_content": "for the weather."},
    {"tool_calls": [{"index": 0, "id": "c1", "function": {"name": "look_up", "arguments": '{"place": '}}]},
    {"tool_calls": [{"index": 0, "function": {"arguments": '"Köln"}'}}]},
]
TOLD = [{"reasoning_content": "Now I know."}, {"content": "It is "}, {"content": "sunny."}]


def test_reasoning_is_folded_and_calls_are_shown_in_a_terminal(tmp_path):
    """A server that thinks, calls a tool and answers with what it is told; the reasoning shows when it is asked for."""
    tool = {
        "name": "look_up",
        "description": "d",
        "parameters": {"type": "object", "properties": {"place": {"type": "string"}}},
    }
    (tmp_path / "tools.json").write_text(json.dumps([tool]))
    with scripted(CALLED, TOLD, TOLD) as (url, asked):
        words = ("infer_backend=openai", f"engine_url={url}", "engine_model=thinker")
        with typing(tmp_path, *words) as (process, screen):

            def ask(text, shown):
                screen.type(text)
                return screen.wait_for(shown)

            ask("/tools tools.json", "1 tool is offered")
            before = ask("Weather?", 'calls look_up({"place": "Köln"})   answer it with /tool RESULT')
            assert "thinking: 25 characters   (/thinking shows them)" in before
            assert "weather" not in before
            ask("/thinking", "They ask for the weather.")
            before = ask("/tool sunny", "It is sunny.")
            assert "thinking: 11 characters" in before
            assert "Now I know" not in before
            ask("/thinking on", "shown as it comes")
            ask("Again?", "Now I know.")
            screen.wait_for("It is sunny.")
            screen.type("/exit")
            assert process.wait(60) == 0
    assert [message["role"] for message in asked[1]["messages"]] == ["user", "assistant", "tool"]
    assert asked[1]["messages"][1]["tool_calls"][0]["function"] == {"name": "look_up", "arguments": '{"place": "Köln"}'}


@contextlib.contextmanager
def scripted(*answers):
    """An OpenAI server that streams one list of deltas a request: (its URL, the bodies that it was asked with)."""
    left, asked = iter(answers), []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            events = [json.dumps({"choices": [{"index": 0, "delta": delta}]}) for delta in next(left)]
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            self.wfile.write("".join(f"data: {event}\n\n" for event in [*events, "[DONE]"]).encode())

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1", asked
        server.shutdown()


@contextlib.contextmanager
def typing(folder, *words):
    """luthier chat on a pseudo-terminal, in folder: (process, Screen)."""
    here, there = pty.openpty()
    argv = [sys.executable, "-m", "luthier", "chat", *words]
    process = subprocess.Popen(argv, stdin=there, stdout=there, stderr=there, cwd=folder, start_new_session=True)
    os.close(there)
    try:
        yield process, Screen(here)
    finally:
        process.kill()
        process.wait()
        os.close(here)


class Screen:
    """What a terminal shows, read as it comes."""

    def __init__(self, handle):
        self.handle, self.text = handle, ""

    def type(self, line, waiting=True):
        """A line, after the prompt where one is shown."""
        if waiting:
            self.wait_for("> ")
        os.write(self.handle, f"{line}\n".encode())

    def wait_for(self, words, seconds=300):
        """Read on until words appear; what stood before them, which is not kept."""
        end = time.monotonic() + seconds
        while words not in self.text:
            assert time.monotonic() < end, self.text
            self.text += os.read(self.handle, 4096).decode(errors="replace")
        before, _, self.text = self.text.partition(words)
        return before


def test_what_the_record_says_is_followed_and_named_where_it_differs(adapters, caplog):
    with caplog.at_level(logging.WARNING):
        chat = Chat(config_of(adapter_name_or_path=str(adapters[0]), default_system="Other."))
    assert chat.sides[0].answerer.template.name == "qwen"
    assert "was trained with default_system: You are Qwen" in caplog.text
    assert "and will answer with Other." in caplog.text
