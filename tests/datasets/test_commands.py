"""`luthier data` from the command line to its output."""

import json

import pytest

from luthier.cli import main
from luthier.config import Config
from luthier.datasets import read_samples
from luthier.types import Conversation

ROWS = [{"instruction": f"question {i}", "input": "", "output": f"answer {i}"} for i in range(5)]


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """run("list", ...) in a folder with data/a.jsonl -> (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def run_command(*words):
        code = main(["data", *map(str, words)])
        out = capsys.readouterr()
        return code, out.out, out.err

    return run_command


@pytest.fixture
def registered(write):
    write("data/a.jsonl", ROWS)
    write(
        "data/dataset_info.json", {"a": {"file_name": "a.jsonl"}, "gone": {"file_name": "gone.json"}, "bad": {"file_nam": "x"}}
    )


@pytest.fixture
def minimind(assets):
    return assets / "tokenizers" / "minimind"


def test_list(run, registered):
    code, out, _ = run("list")
    assert code == 0
    assert "gone.json does not exist" in out
    assert 'unknown key "file_nam"' in out
    lines = json.loads(run("list", "--json")[1])
    assert [(line["name"], line["holds"], line["problem"] is None) for line in lines] == [
        ("a", "conversation", True),
        ("gone", "conversation", False),
        ("bad", "?", False),
    ]
    code, _, err = run("list", "--dataset_dir", "nowhere")
    assert code == 2
    assert "no dataset is registered in nowhere/dataset_info.json" in err


def test_inspect_without_a_model(run, registered):
    code, out, _ = run("inspect", "--dataset", "a", "--sample", 2)
    assert code == 0
    assert "data/a.jsonl row 2" in out
    assert '"answer 1"' in out
    code, _, err = run("inspect", "--dataset", "a", "--sample", 9)
    assert code == 2
    assert "there is no sample 9: the data has 5" in err


def test_inspect_shows_what_the_stage_sees(run, registered, minimind):
    from transformers import AutoTokenizer

    words = ("inspect", "--dataset", "a", "--model", minimind, "--sample", 2, "--limit", 2)
    records = [json.loads(line) for line in run(*words, "--format", "jsonl")[1].splitlines()]
    assert [record["row"] for record in records] == [2, 3]
    tokenizer = AutoTokenizer.from_pretrained(minimind)
    for record, row in zip(records, ROWS[1:]):
        messages = [{"role": "user", "content": row["instruction"]}, {"role": "assistant", "content": row["output"]}]
        assert record["input_ids"] == tokenizer.apply_chat_template(messages, return_dict=False)
        learned = [token for token in record["labels"] if token != -100]
        assert tokenizer.decode(learned) == record["learned"] == row["output"] + "<|im_end|>"
        assert record["text"] == tokenizer.decode(record["input_ids"])
    text = run(*words)[1]
    assert "[answer 1<|im_end|>]" in text
    page = run(*words, "--format", "html", "--output", "page.html")
    assert page[0] == 0


def test_inspect_html_escapes_and_marks(run, write, minimind, tmp_path):
    write("b.jsonl", [{"instruction": "<b>bold</b>", "output": "<i>x</i> 中文"}])
    run("inspect", "--dataset", "b.jsonl", "--model", minimind, "--format", "html", "--output", "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<b>" not in page
    assert "<i>" not in page
    assert '<span class="learned"' in page


def test_check(run, registered, minimind):
    code, out, _ = run("check", "--dataset", "a", "--model", minimind, "--cutoff_len", 16, "--json")
    report = json.loads(out)
    assert code == 0
    assert (report["rows"], report["unit"]) == (5, "tokens")
    first = report["truncation"][0]
    assert first["cutoff_len"] == 16
    assert first["samples"] == 5
    lengths = [len(ids) for ids in _ids(run, minimind)]
    assert report["lengths"]["total"] == sum(lengths)
    assert first["tokens"] == sum(length - 16 for length in lengths)
    assert any("longer than cutoff_len 16" in words for _, words in report["findings"])


def _ids(run, model):
    out = run("inspect", "--dataset", "a", "--model", model, "--limit", 5, "--format", "jsonl")[1]
    return [json.loads(line)["input_ids"] for line in out.splitlines()]


def test_check_goes_on_over_bad_rows(run, write):
    write("b.jsonl", [*ROWS, {"instruction": "x"}, {"instruction": "x"}])
    code, out, _ = run("check", "--dataset", "b.jsonl")
    assert code == 0
    assert "7 read, 5 samples" in " ".join(out.split())
    assert '! 2 rows cannot be used: 2 x has no "output"' in out


def test_register_then_use(run, write, tmp_path):
    write("some/my.set.jsonl", [{"question": "q", "answer": "a"}])
    code, out, _ = run("register", "some/my.set.jsonl", "--dry-run")
    assert code == 0
    assert not (tmp_path / "data").exists()
    code, out, _ = run("register", "some/my.set.jsonl", "--name", "mine")
    assert code == 0
    assert '"prompt": "question"' in out
    entry = json.loads((tmp_path / "data" / "dataset_info.json").read_text())["mine"]
    assert entry["columns"] == {"prompt": "question", "response": "answer"}
    (sample,) = read_samples(Config(dataset=["mine"]), wants=Conversation)
    assert sample.messages[1].content == "a"
    code, _, err = run("register", "some/my.set.jsonl", "--name", "mine")
    assert (code, '"mine" is registered' in err) == (2, True)
    swapped = ("--column", "prompt=answer", "--column", "response=question")
    assert run("register", "some/my.set.jsonl", "--name", "mine", "--overwrite", *swapped)[0] == 0
    (sample,) = read_samples(Config(dataset=["mine"]), wants=Conversation)
    assert sample.messages[1].content == "q"


def test_register_writes_nothing_where_rows_cannot_be_read(run, write, tmp_path):
    write("data/dataset_info.json", {"a": {"file_name": "a.jsonl"}})
    before = (tmp_path / "data" / "dataset_info.json").read_bytes()
    write("x.jsonl", [{"a": 1}])
    code, _, err = run("register", "x.jsonl")
    assert code == 2
    assert "cannot tell what its rows mean (keys: a)" in err
    assert (tmp_path / "data" / "dataset_info.json").read_bytes() == before


def test_convert_there_and_back(run, registered, tmp_path):
    assert run("convert", "--dataset", "a", "--to", "openai", "--output", "b.jsonl")[0] == 0
    assert run("convert", "--dataset", "b.jsonl", "--to", "alpaca", "--output", "c.jsonl")[0] == 0
    back = [json.loads(line) for line in (tmp_path / "c.jsonl").read_text().splitlines()]
    assert [{**row, "input": ""} for row in back] == ROWS
    code, _, err = run("convert", "--dataset", "a", "--to", "openai", "--output", "b.jsonl")
    assert (code, "b.jsonl exists already" in err) == (2, True)
    code, _, err = run("convert", "--dataset", "a", "--to", "openai", "--output", "data/a.jsonl", "--overwrite")
    assert (code, "is one of the files that are read" in err) == (2, True)


@pytest.mark.parametrize("words", [("inspect",), ("check",), ("convert", "--to", "openai", "--output", "x.jsonl")])
def test_no_dataset(run, words):
    code, _, err = run(*words)
    assert (code, "no dataset was given" in err) == (2, True)


def test_check_compares_the_template_with_the_tokenizers_own(run, registered, minimind):
    """minimind's own template is ChatML but for what the family vicuna writes; where both are the same nothing is said."""
    said = {}
    for template in ("vicuna", "auto"):
        words = ("check", "--dataset", "a", "--model", minimind, "--template", template, "--json")
        said[template] = [line for _, line in json.loads(run(*words)[1])["findings"] if "written otherwise" in line]
    assert said["auto"] == []
    (line,) = said["vicuna"]
    assert line.startswith("5 of the first 5 samples")
    assert "data/a.jsonl row 1: token 1 is 'A' in vicuna, '<|im_start|>' in its own" in line


def test_html_by_its_own_flag(run, registered, tmp_path):
    assert run("inspect", "--dataset", "a", "--html", "--output", "page.html")[0] == 0
    assert "question 0" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_register_a_glob(run, write, tmp_path):
    for name in ("x1.jsonl", "x2.jsonl"):
        write(f"many/{name}", [{"question": "q", "answer": "a"}])
    assert run("register", "many/x*.jsonl", "--name", "both")[0] == 0
    assert len(list(read_samples(Config(dataset=["both"]), wants=Conversation))) == 2
