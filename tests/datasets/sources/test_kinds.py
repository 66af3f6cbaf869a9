"""Every file kind gives the rows that were written, by the library that writes it."""

import bz2
import csv
import gzip
import json
import lzma

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from luthier.datasets.base import BadRow
from luthier.datasets.sources import READERS
from luthier.datasets.sources.file import File
from luthier.datasets.sources.local import FilesSource, find_files
from luthier.errors import DataError

ROWS = [{"instruction": f"q{i} 中文", "input": "", "output": 'a, "b"\nc' * i} for i in range(5)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS).encode()


def rows_of(path):
    return [row for _, row in READERS[File(str(path)).suffix](File(str(path)))]


@pytest.mark.parametrize(("suffix", "delimiter"), [("csv", ","), ("tsv", "\t")])
def test_tables(tmp_path, suffix, delimiter):
    path = tmp_path / f"a.{suffix}"
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.DictWriter(file, list(ROWS[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(ROWS)
    assert rows_of(path) == ROWS


def test_a_table_keeps_numbers_as_written_and_takes_long_fields(write):
    assert rows_of(write("a.csv", "a,b\n007,1.50\n" + "x" * 300_000 + ",\n")) == [
        {"a": "007", "b": "1.50"},
        {"a": "x" * 300_000, "b": ""},
    ]


def test_a_ragged_line_is_one_bad_row(write):
    rows = rows_of(write("a.csv", "a,b\n1,2\n1,2,3\n\n1\n3,4\n"))
    assert [isinstance(row, BadRow) for row in rows] == [False, True, True, False]


@pytest.mark.parametrize("text", ['a,b\n1,"never closed\n2,3\n', 'a,b\n1,"x"y\n'])
def test_a_broken_quote_stops(write, text):
    with pytest.raises(DataError, match=r"a\.csv line \d+ is not valid CSV"):
        rows_of(write("a.csv", text))


def test_header_named_twice(write):
    with pytest.raises(DataError, match="names 'a' twice"):
        rows_of(write("a.csv", "a,a\n1,2\n"))


def test_parquet_and_arrow(tmp_path):
    table = pa.Table.from_pylist(ROWS * 700)
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=1111)
    with pa.OSFile(str(tmp_path / "stream.arrow"), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    with pa.OSFile(str(tmp_path / "file.arrow"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    for name in ("a.parquet", "stream.arrow", "file.arrow"):
        assert rows_of(tmp_path / name) == ROWS * 700


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow"])
@pytest.mark.parametrize("content", [b"", b"PAR1 no", b"ARROW1 no", b'{"a": 1}'])
def test_not_what_the_name_says(write, name, content):
    with pytest.raises(DataError, match=rf"{name} is not a readable"):
        rows_of(write(name, content))


def zstd(data):
    return pa.compress(data, "zstd", asbytes=True)


@pytest.mark.parametrize(
    ("suffix", "pack"), [("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress), ("zst", zstd)]
)
def test_compressed(write, suffix, pack):
    if pack is None:
        pack = pytest.importorskip("zstandard").ZstdCompressor().compress
    packed = pack(LINES)
    path = write(f"a.jsonl.{suffix}", packed)
    assert rows_of(path) == ROWS
    assert rows_of(write(f"two.jsonl.{suffix}", packed + packed)) == ROWS * 2
    source = FilesSource([File(str(write(f"cut.jsonl.{suffix}", packed[: len(packed) // 2])))])
    with pytest.raises(DataError, match=rf"cut\.jsonl\.{suffix} cannot be read on after row \d"):
        list(source.rows())


def test_text_lines_and_whole_pages(write):
    assert rows_of(write("a.txt", "one\n\n  \ntwo  \r\nthree")) == [{"text": "one"}, {"text": "two  "}, {"text": "three"}]
    assert rows_of(write("a.md", "# one\n\ntwo\n")) == [{"text": "# one\n\ntwo\n"}]
    assert rows_of(write("b.md", " \n")) == []


def test_folder_and_glob(tmp_path, write):
    for name in ("d/b.jsonl", "d/a.jsonl", "d/.hidden.jsonl", "d/sub/c.jsonl", "d/notes.pdf", "d/dataset_info.json"):
        write(name, "")
    names = [file.path.removeprefix(str(tmp_path)) for file in find_files("d", str(tmp_path), None, "x")]
    assert names == ["/d/a.jsonl", "/d/b.jsonl", "/d/sub/c.jsonl"]
    assert len(find_files("d/*.jsonl", str(tmp_path), None, "x")) == 2
    assert len(find_files("d/**/*.jsonl", str(tmp_path), None, "x")) == 3


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("no.json", r"no\.json does not exist.\n.*holds: a.jsonl"),
        ("*.csv", "no data file matches"),
        ("empty", "holds no data file"),
        ("x.pdf", "is of an unknown kind"),
        ("none/a.json", "There is no folder"),
    ],
)
def test_nothing_there(tmp_path, write, location, message):
    (tmp_path / "empty").mkdir()
    write("a.jsonl", "")
    write("x.pdf", "")
    with pytest.raises(DataError, match=message):
        find_files(location, str(tmp_path), None, "x")
