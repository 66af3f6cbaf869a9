"""Jobs against a scripted server: what is answered is kept, what fails is said, what is limited stays limited."""

import asyncio
import json
import logging
import random
import time
from pathlib import Path

import pytest

from luthier.documents import review
from luthier.documents.jobs.faults import fault_of_status, retry_after
from luthier.documents.jobs.keys import find_key, hide
from luthier.documents.jobs.limits import Limiter
from luthier.documents.jobs.probe import probe
from luthier.documents.jobs.reply import BadReply, read_json, read_reply
from luthier.documents.project import Project, add_files
from luthier.documents.steps.chunk import cleaning_of
from luthier.documents.steps.rows import ROWS
from luthier.errors import EngineError
from luthier.workflows import documents, documents_calls

from .fake_server import COUNT, TEXT, FakeServer, Fault, completion

KEY = "sk-secret-0123456789"


def book(sections: int) -> str:
    """Sections that have hardly a word in common, so that no row is a near-duplicate of another."""
    letters = random.Random(5)
    words = ["".join(letters.choices("abcdefghijklmnopqrstuvwxyz", k=7)) for _ in range(sections * 9)]
    return "\n\n".join(f"# Part {n}\n\nThe {' '.join(words[n * 9 : n * 9 + 9])}." for n in range(sections))


def make(folder: Path, server: FakeServer, sections: int = 8, endpoint: str = "", more: str = "") -> Project:
    source = folder / "book.md"
    source.write_text(book(sections))
    recipe = f"""
chunk: {{max_chars: 200, min_chars: 0}}
split: {{val: 0, test: 0}}
ask: {{generator: model, per_1000_chars: 1, max_per_chunk: 1, unanswerable: 0}}
endpoint: {{base_url: "{server.url}", model: fake, concurrency: 4, timeout_s: 5, max_tokens: 100, {endpoint}}}
{more}"""
    project = Project.create(folder / "book", recipe)
    add_files(project, [source])
    return project


def answers(project: Project) -> list:
    return project.store.all("SELECT * FROM answer ORDER BY id")


def test_a_project_runs_to_a_dataset_and_asks_nothing_twice(tmp_path):
    lines = []
    with FakeServer() as server, make(tmp_path, server) as project:
        exported = documents.run(project, lines.append)
        assert exported.counts == {"train": 8}
        assert server.total == 24 and server.most_active <= 4  # ask, answer, judge for 8 sections
        documents.run(project, lines.append)
        assert server.total == 24
        rows = [json.loads(line) for line in (exported.folder / "provenance.jsonl").read_text().splitlines()]
        text = project.text(rows[0]["text"])
        for row in rows:
            assert row["verdicts"] == {"supported": 9.0, "useful": 8.0}
            assert row["quotes"] and text[row["quotes"][0]["start"] : row["quotes"][0]["end"]].strip()


def test_a_stored_answer_is_read_and_not_asked_for_again(tmp_path):
    """As a kill leaves it between the two commits: the answer is in the store, its unit is not done."""
    with FakeServer() as server, make(tmp_path, server) as project:
        documents.run(project, lambda line: None)
        tables = ("question", "answer", "verdict")
        before = [sorted(map(tuple, project.store.all(f"SELECT * FROM {table}"))) for table in tables]
        for table in tables:
            project.store.write(f"DELETE FROM {table}")
        project.store.write("UPDATE unit SET state='queued'")
        documents.run(project, lambda line: None)
        assert server.total == 24
        assert [sorted(map(tuple, project.store.all(f"SELECT * FROM {table}"))) for table in tables] == before


def test_an_invented_quote_keeps_its_row_out_until_a_person_takes_it(tmp_path):
    def script(request, again, number):
        prompt = request["messages"][0]["content"]
        if "Part 3" not in prompt or COUNT.search(prompt) or "supported" in prompt:
            return None
        said = {
            "answer": TEXT.search(prompt).group(1).split("\n")[-1],
            "quotes": ["No page of this book ever said so."],
        }
        return Fault(body=completion(request, content=json.dumps(said)))

    with FakeServer(script) as server, make(tmp_path, server) as project:
        assert documents.run(project, lambda line: None).counts == {"train": 7}
        [flag] = project.store.all("SELECT answer, code FROM flag WHERE blocks=1")
        assert flag["code"] == "no_evidence"
        review.decide(project, [flag["answer"]], "accepted")
        assert documents.export(project).counts == {"train": 8}


def test_overload_cut_connections_and_broken_bodies_are_outlived(tmp_path):
    def script(request, again, number):
        kind = number % 7
        if again > 1 or kind > 4:
            return None
        return [
            Fault(status=429, headers={"Retry-After": "0.1"}, body=b'{"error": {"message": "slow down"}}'),
            Fault(status=500, body=b"oops"),
            Fault(status=0),
            Fault(body=b"<html>a proxy's page</html>"),
            Fault(status=503, body=b""),
        ][kind]

    with FakeServer(script) as server, make(tmp_path, server, more="judge: {enabled: false}") as project:
        exported = documents.run(project, lambda line: None)
        assert exported.counts == {"train": 8}
        kept = project.store.value("SELECT count(*) FROM llm_call WHERE CAST(response AS TEXT) LIKE '%proxy%'")
        assert kept == sum(1 for key in project.store.all("SELECT request_hash FROM llm_call WHERE request_hash LIKE '%:%'"))
        assert {row["state"] for row in project.store.all("SELECT state FROM job")} == {"done"}


def test_an_answer_in_prose_is_asked_once_more_and_then_said(tmp_path):
    def script(request, again, number):
        prompt = request["messages"][0]["content"]
        if "Question:" in prompt and "Part 3" in prompt:
            return Fault(body=completion(request, content="I would say forty-two."))
        return None

    lines = []
    with FakeServer(script) as server, make(tmp_path, server, more="judge: {enabled: false}") as project:
        documents.run(project, lines.append)
        assert len(answers(project)) == 7
        failed = project.store.one("SELECT * FROM unit WHERE state='failed'")
        assert failed["error_code"] == "not_json" and "asked twice" in failed["error"]
        assert project.store.value("SELECT state FROM job WHERE stage='answer' ORDER BY id DESC") == "done with failures"
        assert any("not_json 1" in line for line in lines)
        assert project.store.value("SELECT count(*) FROM llm_call WHERE CAST(response AS TEXT) LIKE '%forty-two%'") == 2
        server.script = lambda *_: None
        documents.run(project, lines.append)
        assert len(answers(project)) == 7  # a failed unit waits until it is asked for
        documents.run(project, lines.append, retry_failed=True)
        assert len(answers(project)) == 8


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (401, b'{"error": {"message": "bad key sk-secret-0123456789"}}', "does not accept the API key"),
        (402, b"", "no credit left"),
        (404, b'{"error": "no such model"}', "no such address or model"),
        (429, b'{"error": {"code": "insufficient_quota"}}', "no credit left"),
    ],
)
def test_refusals_pause_the_job_and_nothing_is_lost(tmp_path, monkeypatch, status, body, words):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    seen = []

    def script(request, again, number):
        seen.append(number)
        return Fault(status=status, body=body) if len(seen) > 3 else None

    with FakeServer(script) as server, make(tmp_path, server) as project:
        with pytest.raises(EngineError, match=words) as error:
            documents.run(project, lambda line: None)
        assert "Nothing is lost" in str(error.value) and KEY not in str(error.value)
        assert server.total <= 3 + 4  # at most those in the air
        before = server.total
        server.script = lambda *_: None
        documents.run(project, lambda line: None)
        assert server.total == before + 24 - 3


def test_the_key_is_sent_and_stands_nowhere(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("MY_KEY", KEY)
    caplog.set_level(logging.DEBUG)

    def script(request, again, number):
        if number == 2:
            return Fault(status=500, body=f"who is {KEY}?".encode())
        return Fault(body=completion(request, "reasoning").replace(b"Let me look.", f"I was sent {KEY}.".encode()))

    with FakeServer(script) as server, make(tmp_path, server, endpoint="api_key_env: MY_KEY") as project:
        exported = documents.run(project, logging.getLogger("luthier").info)
        assert all(headers["Authorization"] == f"Bearer {KEY}" for headers in server.headers)
    assert "I was sent [key]." in (exported.folder / "train.jsonl").read_text()
    for file in (tmp_path / "book").rglob("*"):
        if file.is_file():
            assert KEY.encode() not in file.read_bytes(), file
    assert KEY not in caplog.text
    assert find_key("MY_KEY") == KEY and find_key("NO_SUCH_KEY") == ""
    assert hide(f"a {KEY} b", KEY) == "a [key] b"


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning", "<think>"])
def test_reasoning_is_kept_from_whichever_field(tmp_path, field):
    with FakeServer(reasoning=field) as server, make(tmp_path, server, sections=2, more="judge: {enabled: false}") as project:
        exported = documents.run(project, lambda line: None)
        assert [(row["thinking"], row["thinking_origin"]) for row in answers(project)] == [("Let me look.", field)] * 2
        row = json.loads((exported.folder / "train.jsonl").read_text().splitlines()[0])
        assert row["output"].startswith("<think>\nLet me look.\n</think>\n\n")


def test_the_budget_is_a_hard_stop(tmp_path):
    with FakeServer() as server, make(tmp_path, server, more="budget: {tokens: 1500, pilot: 0}") as project:
        with pytest.raises(EngineError, match="out of budget"):
            documents.run(project, lambda line: None)
        spent = project.store.value("SELECT sum(tokens_in + tokens_out) FROM llm_call")
        assert 0 < spent <= 1500
        assert project.store.value("SELECT state FROM job ORDER BY id DESC") == "out of budget"


def test_the_pilot_asks_before_the_rest(tmp_path):
    asked = []
    with (
        FakeServer() as server,
        make(tmp_path, server, endpoint="price_in: 1, price_out: 2", more="budget: {pilot: 3}") as project,
    ):
        with pytest.raises(EngineError, match="stopped after the pilot"):
            documents.run(project, lambda line: None, go=lambda line: asked.append(line) or False)
        assert server.total == 3
        assert "pilot of 3; 5 calls are left, about 500 tokens in and 100 out, about 0.00 in money" in asked[0]
        documents.run(project, lambda line: None)
        assert server.total == 24


def test_a_server_that_is_down_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr("luthier.documents.jobs.engine.FIRST_WAIT_S", 0.001)
    with FakeServer() as server:
        pass
    with (
        make(tmp_path, server, endpoint="max_attempts: 2") as project,
        pytest.raises(EngineError, match=r"all 8 units failed|in a row"),
    ):
        documents.run(project, lambda line: None)


def test_a_weaker_model_gives_preference_pairs(tmp_path):
    def script(request, again, number):
        if request["model"] == "small":
            return Fault(body=completion(request, content='{"answer": "No idea.", "quotes": []}'))
        return None

    more = "judge: {enabled: false}\nanswer: {weaker: small}\nexport: {format: preference}"
    with FakeServer(script) as server, make(tmp_path, server, sections=3, more=more) as project:
        exported = documents.run(project, lambda line: None)
        rows = [json.loads(line) for line in (exported.folder / "train.jsonl").read_text().splitlines()]
        assert len(rows) == 3 and {row["rejected"]["value"] for row in rows} == {"No idea."}


def test_dialogues_personas_unanswerable_and_held_out_questions(tmp_path):
    more = "judge: {enabled: false}\nanswer: {turns: 2}\nexport: {format: sharegpt}"
    with FakeServer() as server, make(tmp_path, server, sections=16, more=more) as project:
        text = project.recipe_file.read_text()
        ask = "ask: {generator: model, per_1000_chars: 1, max_per_chunk: 1, unanswerable: 0, personas: [a beginner, an expert]}"
        project.recipe_file.write_text("\n".join(ask if line.startswith("ask:") else line for line in text.splitlines()))
    with FakeServer() as server, Project.open(project.folder) as project:
        endpoint = project.recipe.endpoint.model_copy(update={"base_url": server.url})
        project.recipe = project.recipe.model_copy(update={"endpoint": endpoint})
        exported = documents.run(project, lambda line: None)
        assert {row["persona"] for row in project.store.all("SELECT persona FROM question")} == {"a beginner", "an expert"}
        rows = [json.loads(line) for line in (exported.folder / "train.jsonl").read_text().splitlines()]
        assert rows and all(len(row["conversations"]) == 4 for row in rows)
        part = project.recipe.ask.model_copy(update={"unanswerable": 1.0, "held_out": 0.5, "personas": ()})
        project.recipe = project.recipe.model_copy(update={"ask": part})
        exported = documents.run(project, lambda line: None)
        kinds = {
            row["type"]: row["text"] for row in project.store.all(ROWS.replace("answer.text AS answer", "answer.text AS text"))
        }
        assert kinds == {"unanswerable": "That is not known to me."}
        assert set(exported.counts) <= {"train", "known"}


def test_a_model_may_tidy_but_not_change_facts(tmp_path):
    def script(request, again, number):
        prompt = request["messages"][0]["content"]
        if "Tidy the text" in prompt:
            text = TEXT.search(prompt).group(1)
            return Fault(body=completion(request, content=text.replace("Part 1", "Part 9").replace("The ", "This ")))
        return None

    more = "judge: {enabled: false}\nclean: {model: true}"
    lines = []
    with FakeServer(script) as server, make(tmp_path, server, sections=3, more=more) as project:
        documents.run(project, lines.append)
        chunks = project.store.all("SELECT * FROM chunk ORDER BY start")
        assert ["This " in (chunk["cleaned"] or "") for chunk in chunks] == [True, False, True]
        assert "-The " in cleaning_of(project, chunks[0]["id"])
        assert any("facts_changed 1" in line for line in lines)
        before = server.total
        documents.run(project, lines.append)
        assert server.total == before


def test_a_changed_prompt_asks_again_and_the_old_rows_come_back_with_the_old_prompt(tmp_path):
    with FakeServer() as server, make(tmp_path, server, sections=2, more="judge: {enabled: false}") as project:
        documents.run(project, lambda line: None)
        first = [row["id"] for row in answers(project)]
        text = project.recipe_file.read_text()
    project.recipe_file.write_text(text + "\nanswer: {style: Be brief.}\n")
    with FakeServer() as other, Project.open(project.folder) as changed:
        changed.recipe = changed.recipe.model_copy(
            update={"endpoint": changed.recipe.endpoint.model_copy(update={"base_url": other.url})}
        )
        documents.run(changed, lambda line: None)
        assert other.total == 2  # the questions stand; only the answers are made anew
        assert {row["state"] for row in answers(changed) if row["id"] in first} == {"old"}
    project.recipe_file.write_text(text)
    with Project.open(project.folder) as back:
        documents_calls.ask(back, lambda line: None, lambda line: True)
        documents_calls.answer(back, lambda line: None, lambda line: True)
        assert {row["state"] for row in answers(back) if row["id"] in first} == {"current"}


def test_limits_of_a_minute_and_of_tokens():
    now = [0.0]
    limiter = Limiter(10, per_minute=3, tokens_per_minute=100, clock=lambda: now[0])
    assert [limiter._try(30) for _ in range(4)] == [True, True, True, False]
    now[0] = 61.0
    assert limiter._try(90) and not limiter._try(30)


def test_overload_halves_and_success_adds_one():
    now = [0.0]
    limiter = Limiter(8, clock=lambda: now[0])
    limiter.overloaded(wait_s=5)
    limiter.overloaded()
    assert limiter.allowed == 4 and not limiter._try(1)
    now[0] = 6.0
    assert limiter._try(1)
    for _ in range(8):
        limiter.succeeded()
    assert limiter.allowed == 5


def test_a_slot_is_given_back():
    async def go() -> int:
        limiter = Limiter(1)
        for _ in range(3):
            async with limiter.slot(1):
                pass
        return limiter.active

    assert asyncio.run(go()) == 0


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('[{"a": 1}]', [{"a": 1}]),
        ('Sure!\n```json\n{"a": "x",}\n```\nThat is it.', {"a": "x"}),
        ('{"a": "line one\nline two"}', {"a": "line one\nline two"}),
        ('[{"a": 1}, {"a": 2}, {"a": ', [{"a": 1}, {"a": 2}]),
        ("{'a': 'it is', 'b': None}", {"a": "it is", "b": None}),
    ],
)
def test_json_is_found_and_repaired(text, value):
    assert read_json(text) == value


def test_what_is_no_answer_is_said():
    for body in (b"<html>", b"{}", b'{"choices": []}', b'{"error": "x"}'):
        with pytest.raises(BadReply):
            read_reply(body)
    with pytest.raises(BadReply):
        read_json("no json here")


def test_faults():
    assert fault_of_status(500, {}, b"x").action == "again"
    assert fault_of_status(400, {}, b'{"error": {"message": "too long"}}') == ("fail", "http_400", "HTTP 400: too long", 0.0)
    assert fault_of_status(403, {}, b"").action == "stop"
    assert retry_after({"Retry-After": "7"}) == 7 and retry_after({"retry-after-ms": "1500"}) == 1.5 and retry_after({}) == 0
    date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 20))
    assert 15 < retry_after({"Retry-After": date}) < 25
    assert retry_after({"Retry-After": "soon"}) == 0


def test_a_server_is_asked_to_hold_the_model_to_a_schema(tmp_path):
    """What the schemas say is what the stages read: answers that keep to them become rows."""
    seen = {}

    def script(request, again, number):
        form = request["response_format"]
        assert form["type"] == "json_schema"
        name, schema = form["json_schema"]["name"], form["json_schema"]["schema"]
        seen[name] = schema
        plain = json.loads(completion(request))["choices"][0]["message"]["content"].strip("`json\n")
        answer = json.loads(plain)
        answer = {"questions": answer} if name == "ask" else answer
        assert set(answer) == set(schema["required"]) and not schema["additionalProperties"]
        return Fault(body=completion(request, content=json.dumps(answer)))

    with FakeServer(script) as server, make(tmp_path, server, sections=2, endpoint="json_mode: schema") as project:
        assert documents.run(project, lambda line: None).counts == {"train": 2}
    assert set(seen) == {"ask", "answer", "judge"}
    asked = seen["ask"]["properties"]["questions"]
    assert asked["minItems"] == asked["maxItems"] == 1 and set(asked["items"]["required"]) == {"question", "type", "difficulty"}


def test_an_endpoint_is_probed(tmp_path):
    def script(request, again, number):
        if "response_format" in request:
            return Fault(status=400, body=b'{"error": "unknown field"}')
        return Fault(body=completion(request, reasoning="reasoning", content='{"answer": "yes", "quotes": ["yes"]}'))

    with FakeServer(script) as server, make(tmp_path, server) as project:
        found = probe(project.recipe.endpoint)
        assert (found.model, found.json, found.json_mode, found.reasoning) == ("fake", True, False, "reasoning")
        assert not found.json_schema and "object and schema are refused" in found.text()
        server.script = lambda *_: Fault(status=401, body=b"{}")
        with pytest.raises(EngineError, match="does not accept the API key"):
            probe(project.recipe.endpoint)
