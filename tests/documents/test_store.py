"""The database of a project: made, carried over from an older version, refused where a newer one wrote it."""

import sqlite3

import pytest

from luthier.documents.store import VERSION, Store
from luthier.errors import DataError


def indexes(store: Store) -> set[str]:
    return {row["name"] for row in store.all("SELECT name FROM sqlite_master WHERE type='index' AND sql IS NOT NULL")}


def test_an_older_database_becomes_a_newer_one_and_keeps_its_rows(tmp_path):
    with Store(tmp_path / "p.db") as store:
        new = indexes(store)
        store.write("INSERT INTO edit (answer, field, before, after, at) VALUES ('a', 'answer', 'x', 'y', 'now')")
        store.db.executescript("DROP INDEX edit_of_answer; PRAGMA user_version=1;")
    with Store(tmp_path / "p.db") as store:
        assert store.value("PRAGMA user_version") == VERSION
        assert indexes(store) == new and store.value("SELECT before FROM edit") == "x"


def test_a_newer_database_and_a_file_that_is_none_are_refused(tmp_path):
    with sqlite3.connect(tmp_path / "new.db") as db:
        db.execute(f"PRAGMA user_version={VERSION + 1}")
    db.close()
    with pytest.raises(DataError, match="newer Luthier"):
        Store(tmp_path / "new.db")
    (tmp_path / "text.db").write_text("words, and no database at all; " * 100)
    with pytest.raises(DataError, match=r"text\.db is no project database"):
        Store(tmp_path / "text.db")


def test_writing_is_all_or_nothing(tmp_path):
    with Store(tmp_path / "p.db") as store:
        with pytest.raises(ZeroDivisionError), store.writing():
            store.put("setting", key="a", value="1")
            with store.writing():
                store.put("setting", key="b", value="2")
            1 / 0  # noqa: B018
        assert store.value("SELECT count(*) FROM setting") == 0
