"""What the data and chat pages write: rows that are read back as what they were, the file before them kept."""

import json
import shutil
from pathlib import Path

import pytest

from luthier.config import Config
from luthier.datasets import read_samples
from luthier.errors import DataError
from luthier.types import Conversation, Preference
from luthier.webui import datafiles
from luthier.webui.feedback import conversation_of, message_of, store_good, store_pair

ROOT = Path(__file__).resolve().parents[2]
ASK = {"role": "user", "content": "7 + 8?"}
GOOD = {"role": "assistant", "content": "15", "thinking": None, "tool_calls": []}
BAD = {"role": "assistant", "content": "16", "thinking": "hm", "tool_calls": []}


@pytest.fixture
def folder(tmp_path):
    for name in ("identity.json", "multiturn_demo.json"):
        shutil.copy(ROOT / "data" / name, tmp_path / name)
    info = json.loads((ROOT / "data" / "dataset_info.json").read_text())
    kept = {name: info[name] for name in ("identity", "multiturn_demo")}
    (tmp_path / "dataset_info.json").write_text(json.dumps(kept))
    return tmp_path


def samples(folder, name, wants):
    return list(read_samples(Config(dataset=[name], dataset_dir=str(folder)), [name], wants=wants))


def test_a_thumb_up_is_a_conversation_to_learn(folder):
    talk = conversation_of([ASK, GOOD], "Be short.", [])
    assert store_good(folder, "liked", talk) == ("liked", 1)
    assert store_good(folder, "liked", talk) == ("liked", 2)
    first = samples(folder, "liked", Conversation)[0]
    assert [(one.role, one.content) for one in first.messages] == [
        ("system", "Be short."),
        ("user", "7 + 8?"),
        ("assistant", "15"),
    ]


def test_better_against_worse_is_a_preference_pair(folder):
    name, count = store_pair(folder, "liked", conversation_of([ASK], None, []), message_of(GOOD), message_of(BAD))
    pair = samples(folder, name, Preference)[0]
    assert (name, count, pair.chosen.content, pair.rejected.content, pair.rejected.thinking) == (
        "liked_pairs",
        1,
        "15",
        "16",
        "hm",
    )
    with pytest.raises(DataError, match="the same"):
        store_pair(folder, "liked", conversation_of([ASK], None, []), message_of(GOOD), message_of(GOOD))


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden", "identity"])
def test_feedback_never_touches_another_file(folder, name):
    before = (folder / "identity.json").read_bytes()
    with pytest.raises(DataError):
        store_good(folder, name, conversation_of([ASK, GOOD], None, []))
    assert (folder / "identity.json").read_bytes() == before


def test_a_grid_that_was_not_touched_writes_the_same_rows(folder):
    for name in ("identity.json", "multiturn_demo.json"):
        file = folder / name
        before = json.loads(file.read_text())
        rows, whole = datafiles.read_table(file)
        count, backup = datafiles.write_table(file, rows, file.stat().st_mtime)
        assert whole and count == len(before) and json.loads(file.read_text()) == before == json.loads(backup.read_text())


def test_edits_additions_and_removals_are_written_and_bad_json_is_named(folder):
    file = folder / "multiturn_demo.json"
    rows, _ = datafiles.read_table(file)
    rows[1]["conversations"] = '[{"from": "human", "value": "hi"}, {"from": "gpt", "value": "yes"}]'
    changed = [*rows[1:], {key: rows[1][key] for key in rows[1] if key != "#"}]
    datafiles.write_table(file, changed, file.stat().st_mtime)
    written = json.loads(file.read_text())
    assert (
        len(written) == len(rows)
        and written[0]["conversations"][1]["value"] == "yes"
        and written[-1]["conversations"] == written[0]["conversations"]
    )
    rows, _ = datafiles.read_table(file)
    rows[0]["conversations"] = "[broken"
    kept = file.read_bytes()
    with pytest.raises(DataError) as wrong:
        datafiles.write_table(file, rows, file.stat().st_mtime)
    assert (wrong.value.message, wrong.value.remedy) == ("wrong", "1\tconversations") and file.read_bytes() == kept
    with pytest.raises(DataError, match="changed"):
        datafiles.write_table(file, rows, 0.0)


def test_splitting_loses_no_row_and_mixing_keeps_the_kind(folder):
    (first, a), (second, b) = datafiles.split(folder, "identity", 0.1)
    parts = samples(folder, first, Conversation) + samples(folder, second, Conversation)
    assert (a, b) == (81, 9)
    assert sorted(str(one.messages) for one in parts) == sorted(
        str(one.messages) for one in samples(folder, "identity", Conversation)
    )
    assert datafiles.mix(folder, ["identity", "multiturn_demo"], "mixed", 5) == 10
    assert len(samples(folder, "mixed", Conversation)) == 10
    for name in (first, second, "mixed"):
        read = read_samples(Config(dataset=[name], dataset_dir=str(folder)), [name], wants=Conversation)
        assert list(read) and [one.notes for one in read.counts.sets] == [[]], "what the page writes is read without a note"
    for again in (lambda: datafiles.split(folder, "identity", 0.1), lambda: datafiles.mix(folder, ["identity"], "mixed")):
        with pytest.raises(DataError):
            again()


def test_blanks_are_found_and_filled_into_a_copy(folder):
    before = (folder / "identity.json").read_bytes()
    assert datafiles.blanks(folder, "identity") == ["name", "author"] and datafiles.blanks(folder, "multiturn_demo") == []
    with pytest.raises(DataError, match="author"):
        datafiles.fill_in(folder, "identity", {"name": "Ada", "author": " "}, "mine")
    count = datafiles.fill_in(folder, "identity", {"name": 'Ada "A"', "author": "我们"}, "mine")
    text = " ".join(message.content for one in samples(folder, "mine", Conversation) for message in one.messages)
    assert count == before.count(b"{{") and "{{" not in text and 'Ada "A"' in text and "我们" in text
    assert (folder / "identity.json").read_bytes() == before
    with pytest.raises(DataError, match="already"):
        datafiles.fill_in(folder, "identity", {"name": "x", "author": "y"}, "mine")


def test_blanks_are_looked_for_in_the_data_folder_alone(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("other") / "secret.json"
    other.write_text('[{"instruction": "{{name}}", "output": "x"}]')
    info = json.loads((folder / "dataset_info.json").read_text())
    (folder / "dataset_info.json").write_text(json.dumps(info | {"far": {"file_name": str(other)}}))
    assert datafiles.blanks(folder, "far") == []


@pytest.mark.parametrize(("name", "why"), [("virus.exe", "kind"), ("identity.json", "exists"), ("dataset_info.json", "kind")])
def test_wrong_uploads_are_refused_with_the_reason(folder, name, why):
    with pytest.raises(DataError) as wrong:
        datafiles.upload_target(folder, name)
    assert wrong.value.message == why
