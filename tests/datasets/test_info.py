import pytest

from luthier.datasets.info import parse_entry
from luthier.datasets.lookup import find_entry
from luthier.errors import DataError


def entry(raw):
    return parse_entry("set", raw, base=".", where="dataset_info.json")


def test_unlisted_columns_keep_their_defaults():
    columns = entry({"file_name": "a.json", "columns": {"response": "answer"}}).columns
    assert (columns["prompt"], columns["query"], columns["response"], columns["system"]) == (
        "instruction",
        "input",
        "answer",
        None,
    )


def test_a_default_gives_way_where_its_column_is_mapped():
    """firefly: {"prompt": "input", "response": "target"} must not read "input" twice."""
    assert entry({"file_name": "a.json", "columns": {"prompt": "input", "response": "target"}}).columns["query"] is None


def test_null_switches_a_column_off():
    assert entry({"file_name": "a.json", "columns": {"query": None}}).columns["query"] is None


def test_ranking_has_default_columns():
    columns = entry({"file_name": "a.json", "ranking": True}).columns
    assert (columns["chosen"], columns["rejected"]) == ("chosen", "rejected")


def test_priority_of_sources():
    raw = {"file_name": "a.json", "hf_hub_url": "a/b", "script_url": "x"}
    assert entry(raw).source == "hf_hub_url"
    assert parse_entry("set", raw | {"ms_hub_url": "c/d"}, base=".", where="x", modelscope=True).location == "c/d"


def test_foreign_keys_are_noted_not_refused():
    assert entry({"file_name": "a.json", "licence": "MIT", "file_sha1": "1234"}).notes == (
        'key "licence" is not known and was not used',
    )


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"file_nam": "a.json"}, 'unknown key "file_nam".\n  Did you mean "file_name"'),
        ({"file_name": "a.json", "columns": {"promt": "x"}}, 'unknown column "promt".\n  Did you mean "prompt"'),
        ({"file_name": "a.json", "formatting": "sharegpt", "tags": {"role_tg": "x"}}, 'Did you mean "role_tag"'),
        ({"file_name": "a.json", "formatting": "shargpt"}, 'unknown formatting "shargpt".\n  Did you mean "sharegpt"'),
        ({"file_name": "a.json", "ranking": "yes"}, '"ranking" is text.\n  It must be true or false'),
        ({"file_name": "a.json", "num_samples": True}, '"num_samples" is true or false'),
        ({"file_name": "a.json", "num_samples": 0}, "at least 1"),
        ({"file_name": "a.json", "columns": ["x"]}, '"columns" is a list'),
        ({"file_name": "a.json", "columns": {"prompt": 3}}, 'columns."prompt" is 3'),
        ({"file_name": "a.json", "formatting": "sharegpt", "tags": {"role_tag": None}}, 'tags."role_tag" is null'),
        ({}, "does not say where its rows are"),
        ({"script_url": "x.py"}, "would run Python code"),
        ({"om_hub_url": "x"}, "Modelers hub is not supported"),
        ("a.json", "is text, not an object"),
        (None, "is null, not an object"),
    ],
)
def test_bad_entries(raw, message):
    with pytest.raises(DataError, match=f'dataset_info.json: dataset "set"(.|\n)*{message}'):
        entry(raw)


def test_an_unknown_name_says_where_it_looked(tmp_path, write):
    write("dataset_info.json", {"identity": {"file_name": "identity.json"}, "alpaca_zh": {"file_name": "x.json"}})
    with pytest.raises(
        DataError, match=r'unknown dataset "identiy": not in .*dataset_info.json.*\n  Did you mean identity\?.*alpaca_zh'
    ):
        find_entry("identiy", str(tmp_path))


def test_dataset_dir_may_be_a_dict_or_ONLINE():
    assert find_entry("a", {"a": {"file_name": "x.json"}}).location == "x.json"
    assert find_entry("who/what", "ONLINE").source == "hf_hub_url"


@pytest.mark.parametrize(
    ("text", "message"),
    [('{"a": ', r"not valid JSON: .* \(line 1, column"), ("[]", "not an object of datasets"), (b"\xff\xfe", "JSON")],
)
def test_broken_info_files(tmp_path, write, text, message):
    write("dataset_info.json", text)
    with pytest.raises(DataError, match=message):
        find_entry("a", str(tmp_path))


def test_info_with_byte_order_mark(tmp_path, write):
    write("dataset_info.json", '{"中文": {"file_name": "x.json"}}'.encode("utf-8-sig"))
    assert find_entry("中文", str(tmp_path)).location == "x.json"
