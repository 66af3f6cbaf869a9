import json
import subprocess
import sys
from pathlib import Path

import pytest

from luthier.config import Config
from luthier.datasets import read_samples
from luthier.errors import DataError
from luthier.types import Conversation, Prompt, Text


def alpaca(count, start=0):
    return [{"instruction": f"q{i}", "input": "", "output": f"a{i}"} for i in range(start, start + count)]


def answers(samples):
    return [sample.messages[-1].content for sample in samples]


ONE = {"set": {"file_name": "a.jsonl"}}


def test_again_and_again(read, write):
    write("a.jsonl", alpaca(3))
    samples = read(ONE)
    assert answers(samples) == answers(samples) == ["a0", "a1", "a2"]
    assert (samples.counts.rows, samples.counts.kept, samples.counts.skipped) == (3, 3, 0)


def test_lazy(read, write):
    """A sample can be had although a later row is broken."""
    write("a.jsonl", json.dumps(alpaca(1)[0]) + "\nbroken")
    assert next(iter(read(ONE))).messages[0].content == "q0"


def test_first_five_bad_rows_and_their_number_in_one_error(read, write):
    rows = [*alpaca(2), *({"instruction": "x"} for _ in range(7)), *alpaca(2)]
    write("a.jsonl", [*rows, [1]])
    with pytest.raises(DataError) as caught:
        list(read(ONE))
    text = str(caught.value)
    assert 'dataset "set" has 8 bad rows of 12' in text
    assert [f"row {n} " in text for n in range(1, 13)] == [False, False, True, True, True, True, True, *[False] * 5]
    assert "... and 3 more" in text and "on_bad_row: skip" in text


def test_skip_counts_and_says_why(read, write):
    write(
        "a.jsonl",
        "".join(line + "\n" for line in ('{"instruction": "q", "output": "a"}', "{", "{", '{"instruction": "q"}', "3")),
    )
    samples = read(ONE, on_bad_row="skip")
    assert answers(samples) == ["a"]
    assert samples.counts.skipped == 4
    assert sorted(samples.counts.sets[0].skipped.values()) == [1, 1, 2]
    assert "5 rows, 1 samples (2 skipped: is not valid JSON" in str(samples.counts)


def test_nothing_usable_or_nothing_at_all(read, write):
    write("a.jsonl", [{"instruction": "q"}] * 3)
    with pytest.raises(DataError, match=r'no usable row: all 3 were skipped \(3 x has no "output"\)'):
        list(read(ONE, on_bad_row="skip"))
    for name in ("a.jsonl", "a.json", "a.csv"):
        write(name, "")
        with pytest.raises(DataError, match=r'dataset "set" is empty'):
            list(read({"set": {"file_name": name}}))


def test_max_samples(read, write):
    write("a.jsonl", alpaca(10))
    assert answers(read(ONE, max_samples=3)) == ["a0", "a1", "a2"]
    assert len(answers(read(ONE, max_samples=30))) == 10
    drawn = answers(read(ONE, max_samples=4, max_samples_shuffle=True))
    assert len(set(drawn)) == 4
    assert drawn == answers(read(ONE, max_samples=4, max_samples_shuffle=True))
    assert any(answers(read(ONE, max_samples=4, max_samples_shuffle=True, data_seed=seed)) != drawn for seed in range(5))


def test_max_samples_skips_bad_rows_without_losing_good_ones(read, write):
    write("a.jsonl", [{"x": 1}, *alpaca(5)])
    assert answers(read(ONE, max_samples=2, on_bad_row="skip")) == ["a0", "a1"]


def test_num_samples(read, write):
    write("a.jsonl", alpaca(10))
    assert len(set(answers(read({"set": {"file_name": "a.jsonl", "num_samples": 4}})))) == 4
    more = answers(read({"set": {"file_name": "a.jsonl", "num_samples": 25}}))
    assert len(more) == 25
    assert set(more) == {f"a{i}" for i in range(10)}, "every row comes before one comes twice"


def test_a_set_listed_twice_comes_twice(read, write):
    write("a.jsonl", alpaca(3))
    assert answers(read(ONE, ["set", "set"])) == ["a0", "a1", "a2"] * 2


def test_names_override_the_configs(read, write):
    write("a.jsonl", alpaca(1))
    write("b.jsonl", alpaca(1, 5))
    info = {"a": {"file_name": "a.jsonl"}, "b": {"file_name": "b.jsonl"}}
    config = read(info).config
    assert answers(read_samples(config, ["b"], wants=Conversation)) == ["a5"]
    with pytest.raises(DataError, match="no dataset was given"):
        read_samples(Config(), wants=Conversation)


def test_bare_path_from_the_working_directory_and_from_dataset_dir(tmp_path, write, monkeypatch):
    write("sub/a.jsonl", alpaca(2))
    monkeypatch.chdir(tmp_path)
    assert len(list(read_samples(Config(dataset=["sub/a.jsonl"]), wants=Conversation))) == 2
    assert len(list(read_samples(Config(dataset=["a.jsonl"], dataset_dir="sub"), wants=Conversation))) == 2


def test_notes_where_llamafactory_would_read_other_columns(read, write):
    write("a.jsonl", [{"instruction": "q", "input": "more", "output": "a", "system": "s"}])
    samples = read({"set": {"file_name": "a.jsonl", "columns": {"prompt": "instruction", "response": "output"}}})
    assert next(iter(samples)).messages[0].content == "q\nmore"
    list(samples)
    assert any('column "input" is read as query' in note for note in samples.counts.notes)
    assert any('column "system" is not used' in note for note in samples.counts.notes)
    text = read({"set": {"file_name": "a.jsonl"}}, wants=Text)
    list(text)
    assert any('column "output" is not learned' in note for note in text.counts.notes)


def test_rows_with_different_keys(read, write):
    write(
        "a.jsonl",
        [{"instruction": "q", "output": "a"}, {"output": "b", "input": "i", "extra": [1]}, {"instruction": "q", "output": "c"}],
    )
    assert answers(read(ONE)) == ["a", "b", "c"]


def test_fingerprint_follows_content_entry_and_sampling_not_file_times(read, write):
    path = write("a.jsonl", alpaca(5))
    base = read(ONE).fingerprint()
    content = path.read_bytes()
    path.write_bytes(content)
    assert read(ONE).fingerprint() == base
    different = [
        read(ONE, max_samples=3).fingerprint(),
        read(ONE, max_samples=3, max_samples_shuffle=True).fingerprint(),
        read(ONE, ["set", "set"]).fingerprint(),
        read(ONE, on_bad_row="skip").fingerprint(),
        read(ONE, wants=Prompt).fingerprint(),
        read({"set": {"file_name": "a.jsonl", "columns": {"query": None}}}).fingerprint(),
    ]
    path.write_bytes(content.replace(b"q4", b"Q4"))
    different.append(read(ONE).fingerprint())
    assert base not in different
    assert len(set(different)) == len(different)


def test_the_seed_is_in_the_fingerprint_only_where_it_matters(read, write):
    write("a.jsonl", alpaca(5))
    assert read(ONE, seed=1).fingerprint() == read(ONE, seed=2).fingerprint()
    drawn = {"max_samples": 3, "max_samples_shuffle": True}
    assert read(ONE, seed=1, **drawn).fingerprint() != read(ONE, seed=2, **drawn).fingerprint()


def test_placeholders_are_left_as_text(read, write):
    write("a.jsonl", [{"instruction": "who", "output": "I am {{name}} by {{author}}"}])
    assert answers(read(ONE)) == ["I am {{name}} by {{author}}"]


@pytest.mark.slow
def test_memory_stays_flat_over_a_million_rows(tmp_path):
    """A fifth and the whole of 1,000,000 short rows must need the same memory, from .jsonl and from one JSON array.

    VmHWM is the peak of the reading process alone; getrusage would count that of the process which started it.
    """
    if not Path("/proc/self/status").exists():
        pytest.skip("the peak of a process is read from /proc")
    row = json.dumps({"instruction": "q" * 40, "input": "", "output": "a" * 40})
    peaks = {}
    for name, rows in (("a.jsonl", 200_000), ("b.jsonl", 1_000_000), ("a.json", 200_000), ("b.json", 1_000_000)):
        path = tmp_path / name
        with path.open("w") as file:
            separator = "\n" if name.endswith("l") else ",\n"
            file.write("" if name.endswith("l") else "[")
            for i in range(rows):
                file.write((separator if i else "") + row)
            file.write("" if name.endswith("l") else "]")
        code = (
            "import sys, re, pathlib\nfrom luthier.config import Config\nfrom luthier.datasets import read_samples\n"
            "from luthier.types import Conversation\n"
            "n = sum(1 for _ in read_samples(Config(dataset=[sys.argv[1]]), wants=Conversation))\n"
            "print(n, re.search(r'VmHWM:\\s+(\\d+)', pathlib.Path('/proc/self/status').read_text())[1])"
        )
        out = subprocess.run(
            [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True, timeout=300
        ).stdout
        count, peaks[name] = map(int, out.split())
        assert count == rows
    assert peaks["b.jsonl"] < peaks["a.jsonl"] * 1.1
    assert peaks["b.json"] < peaks["a.json"] * 1.1
    assert max(peaks.values()) < 300 * 1024
