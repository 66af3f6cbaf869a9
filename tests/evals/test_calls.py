"""The leaderboard's tasks are read, and what is right for each is right by the rules."""

import pytest

from luthier.calls import why_wrong
from luthier.errors import DataError
from luthier.evals.calls import read_tasks
from luthier.types import ToolCall


def test_every_task_of_the_leaderboard_is_read_and_its_own_answer_is_right(assets):
    """The first right value of each argument makes a call that passes; without its name it does not."""
    tasks = read_tasks(assets / "data" / "bfcl-toolcall-en")
    assert set(tasks) == {"simple_python", "multiple", "parallel"} and sum(map(len, tasks.values())) == 800
    for each in (one for category in tasks.values() for one in category):
        calls = [ToolCall(name=name, arguments=_first(right)) for truth in each.truth for name, right in truth.items()]
        assert why_wrong(calls[::-1], each.truth, each.conversation.tools) is None, each.id
        assert why_wrong([*calls[:-1], ToolCall(name="nothing", arguments={})], each.truth, each.conversation.tools) is not None


def _first(choices):
    given = {key: [value for value in values if value != ""] for key, values in choices.items()}
    return {key: _plain(values[0]) for key, values in given.items() if values}


def _plain(value):
    if isinstance(value, dict):
        return {key: _plain(each[0] if isinstance(each, list) else each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list) else value


def test_ground_truth_beside_the_questions(tmp_path):
    (tmp_path / "possible_answer").mkdir()
    question = '{"id": "a_0", "question": [[{"role": "user", "content": "?"}]], "function": [{"name": "f", "parameters": {}}]'
    (tmp_path / "BFCL_v3_simple.json").write_text(question + "}\n")
    with pytest.raises(DataError, match="row 1 lacks its question, function or ground_truth"):
        read_tasks(tmp_path)
    (tmp_path / "possible_answer" / "BFCL_v3_simple.json").write_text('{"id": "a_0", "ground_truth": [{"f": {}}]}\n')
    assert read_tasks(tmp_path)["simple"][0].truth == [{"f": {}}]
