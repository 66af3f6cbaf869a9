"""The readers of .json and .jsonl against json.loads of the whole file."""

import json

import pytest

from luthier.datasets.base import BadRow
from luthier.datasets.sources import json_array
from luthier.datasets.sources.file import File
from luthier.datasets.sources.json_array import read_json
from luthier.datasets.sources.json_lines import read_jsonl
from luthier.errors import DataError

ROWS = [{"a": "x" * n, "b": [1.5, -2, None, True, {"c": '\u4e2d"\\\n\U0001f600'}]} for n in range(0, 400, 7)]


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 64, 1 << 20])
@pytest.mark.parametrize("indent", [None, 2])
def test_any_chunk_size_gives_the_same_rows(write, monkeypatch, chunk, indent):
    monkeypatch.setattr(json_array, "CHUNK_CHARS", chunk)
    path = write("a.json", json.dumps(ROWS, ensure_ascii=chunk % 2 == 0, indent=indent))
    assert list(read_json(File(str(path)))) == list(enumerate(ROWS, start=1))


def test_numbers_at_chunk_borders(write, monkeypatch):
    monkeypatch.setattr(json_array, "CHUNK_CHARS", 2)
    numbers = [123456, -7.25, 1e10, 0, 99]
    assert [row for _, row in read_json(File(str(write("a.json", json.dumps(numbers)))))] == numbers


@pytest.mark.parametrize("text", ["[]", " [ ] \n", "", "\n\n"])
def test_no_rows(write, text):
    assert list(read_json(File(str(write("a.json", text))))) == []


def test_objects_without_an_array(write):
    path = write("a.json", '{"a": 1}\n{\n "a": 2\n}\n\n{"a": 3}')
    assert [row["a"] for _, row in read_json(File(str(path)))] == [1, 2, 3]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('[{"a": 1}, {"a": }]', "line 1, column 18"),
        ('[\n{"a": 1}\n{"a": 2}]', "expected between two rows \\(line 3, column 1"),
        ('[{"a": 1},\n{"a": "x\n', "line 2"),
        ('[{"a": 1}', '"]" is missing at the end'),
        ('[{"a": 1}] {"a": 2}', "after the end of the array"),
        ('[{"a": 1}]]', "after the end of the array"),
        ("[" * 100_000, "nested too deeply"),
        ('[{"a": 1},]', "line 1, column 11"),
    ],
)
@pytest.mark.parametrize("chunk", [5, 1 << 20])
def test_broken_arrays_name_line_and_column(write, monkeypatch, text, place, chunk):
    monkeypatch.setattr(json_array, "CHUNK_CHARS", chunk)
    with pytest.raises(DataError, match=rf"a\.json is not valid JSON: .*{place}"):
        list(read_json(File(str(write("a.json", text)))))


def test_lines_count_and_break_alone(write):
    path = write("a.jsonl", '{"a": 1}\n\n{"a": \n[1]\n{"a": NaN}\r\n{"a": "\\ud800"}\n{"a": 2}')
    rows = dict(read_jsonl(File(str(path))))
    assert list(rows) == [1, 3, 4, 5, 6, 7]
    assert (rows[1], rows[4], rows[7]) == ({"a": 1}, [1], {"a": 2})
    assert isinstance(rows[3], BadRow) and "column" in rows[3].problem
    assert isinstance(rows[6], BadRow), "half a surrogate pair cannot be tokenised"


def test_a_line_that_is_not_utf8(write):
    path = write("a.jsonl", b'{"a": "x"}\n' * 200_000 + '{"a": "中文"}\n'.encode("gbk") + b'{"a": "y"}\n')
    rows = [row for _, row in read_jsonl(File(str(path)))]
    assert [isinstance(row, BadRow) for row in rows[-3:]] == [False, True, False]


def test_surrogates_in_an_array(write):
    path = write("a.json", '[{"a": "\\ud800"}, {"a": "\\ud83d\\ude00"}]')
    first, second = (row for _, row in read_json(File(str(path))))
    assert isinstance(first, BadRow)
    assert second == {"a": "\U0001f600"}


def test_nesting_too_deep_in_a_line(write):
    path = write("a.jsonl", "[" * 100_000 + "\n" + '{"a": 1}')
    bad, good = (row for _, row in read_jsonl(File(str(path))))
    assert isinstance(bad, BadRow)
    assert good == {"a": 1}
