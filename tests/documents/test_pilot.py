"""A pilot asks so many units of each stage, says what the rest will take, and stops there."""

import pytest

from luthier.documents import review
from luthier.errors import ConfigError, EngineError
from luthier.workflows import documents
from luthier.workflows.documents_pilot import pilot

from .fake_server import FakeServer, Fault
from .test_jobs import make


def test_a_pilot_says_what_the_rest_will_take_and_asks_nothing_twice(tmp_path):
    prices = "price_in: 1, price_out: 2"
    with FakeServer() as server, make(tmp_path, server, sections=8, endpoint=prices, more="budget: {pilot: 4}") as project:
        documents.read(project, lambda line: None)
        found = pilot(project)
        assert server.total == 12  # 4 chunks, their 4 questions, their 4 answers
        assert [(one.stage, one.done, one.failed, one.left) for one in found] == [
            ("ask", 4, 0, 4), ("answer", 4, 0, 4), ("judge", 4, 0, 4)]  # fmt: skip
        spent = project.store.one("SELECT sum(tokens_in), sum(tokens_out) FROM llm_call WHERE stage='ask'")
        assert abs(found[0].tokens_in - spent[0]) <= 1 and abs(found[0].tokens_out - spent[1]) <= 1  # half is left
        assert found[0].money == pytest.approx((found[0].tokens_in + 2 * found[0].tokens_out) / 1e6)
        assert pilot(project)[0].left == 4 and server.total == 12
        documents.run(project, lambda line: None)
        assert server.total == 24


def test_a_pilot_is_stopped_by_what_stops_a_job(tmp_path):
    with FakeServer(lambda *_: Fault(401, body=b'{"error": "no"}')) as server, make(tmp_path, server) as project:
        documents.read(project, lambda line: None)
        with pytest.raises(EngineError, match="does not accept the API key"):
            pilot(project)


def test_a_recipe_is_saved_only_where_it_is_right(tmp_path):
    with FakeServer() as server, make(tmp_path, server) as project:
        before = project.recipe_file.read_text()
        for wrong in ("ask: {kind: novel}", "ask: [", "endpoint: {api_key: sk-1}", "chunk: {max_char: 3}"):
            with pytest.raises(ConfigError):
                project.save_recipe(wrong)
            assert project.recipe_file.read_text() == before and project.recipe.endpoint.model == "fake"
        project.save_recipe("# mine\nask: {kind: law}\n")
        assert project.recipe.ask.kind == "law" and project.recipe_file.read_text().startswith("# mine")


def test_the_review_counts_its_rows(tmp_path):
    with FakeServer() as server, make(tmp_path, server, sections=4) as project:
        documents.run(project, lambda line: None)
        ids = [row["id"] for row in review.queue(project)]
        project.store.put("flag", answer=ids[0], code="too_long", blocks=0)
        review.decide(project, ids[:1], "rejected")
        assert review.counts(project) == {"open": 3, "accepted": 0, "rejected": 1}
        assert review.counts(project, "too_long") == {"open": 0, "accepted": 0, "rejected": 1}
        assert review.flags(project) == {"too_long": 1}
