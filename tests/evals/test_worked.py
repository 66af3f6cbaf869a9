"""Worked problems from local files: read, put, and wrong rows named."""

import json

import pyarrow as pa
import pyarrow.parquet
import pytest

from luthier.errors import DataError
from luthier.evals.worked import Problem, conversation, read_problems

ROWS = [{"question": "2 + 2?", "answer": "2 + 2 = 4\n#### 4"}, {"question": "A thousand?", "answer": "#### 1,000"}]
PROBLEMS = [Problem(**row) for row in ROWS]


@pytest.mark.parametrize("ending", ["jsonl", "json", "parquet"])
def test_problems_are_read_from_each_kind_of_file(tmp_path, ending):
    file = tmp_path / f"test.{ending}"
    if ending == "parquet":
        file = tmp_path / "main" / "test-00000-of-00001.parquet"
        file.parent.mkdir()
        pa.parquet.write_table(pa.Table.from_pylist(ROWS), file)
    else:
        file.write_text(json.dumps(ROWS) if ending == "json" else "\n".join(map(json.dumps, ROWS)))
    assert read_problems(tmp_path, "test") == PROBLEMS


def test_what_to_do_stands_before_the_first():
    messages = conversation(PROBLEMS[1], PROBLEMS[:1], "en").messages
    assert [message.role for message in messages] == ["user", "assistant", "user"]
    assert messages[0].content.endswith("####  and the final number.\n\n2 + 2?".replace("  ", " "))
    assert messages[1].content == ROWS[0]["answer"] and messages[2].content == "A thousand?"
    assert "####" in conversation(PROBLEMS[0], [], "zh").messages[0].content


def test_a_file_that_is_missing_or_wrong_is_named(tmp_path):
    with pytest.raises(DataError, match="has no test problems"):
        read_problems(tmp_path, "test")
    (tmp_path / "test.jsonl").write_text('{"question": "2?", "answer": "two"}\n')
    with pytest.raises(DataError, match=r"test.jsonl row 1: its answer marks no number"):
        read_problems(tmp_path, "test")
    (tmp_path / "test.jsonl").write_text('{"question": "2?"}\n')
    with pytest.raises(DataError, match="row 1 has no question and answer"):
        read_problems(tmp_path, "test")
