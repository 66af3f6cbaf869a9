"""The database of a project: SQLite in WAL mode, one writer at a time, foreign keys on.

Enters and leaves: rows. Knows the tables and nothing of what stages do with them. No API key is ever put in here.
What a killed process had committed is there; what it had not is as if it never happened.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from luthier.errors import DataError

VERSION = 2
SCHEMA = """
CREATE TABLE document (
  id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, sha256 TEXT NOT NULL, file TEXT NOT NULL, kind TEXT NOT NULL DEFAULT '',
  num_bytes INTEGER NOT NULL, state TEXT NOT NULL DEFAULT 'new', problem TEXT, parse_key TEXT, chunk_key TEXT, parser TEXT,
  parser_version TEXT, text_sha TEXT, num_chars INTEGER, num_pages INTEGER, title TEXT, language TEXT, notes TEXT NOT NULL
  DEFAULT '[]');
CREATE TABLE page (doc TEXT NOT NULL REFERENCES document ON DELETE CASCADE, start INTEGER NOT NULL, page INTEGER NOT NULL,
  PRIMARY KEY (doc, start)) WITHOUT ROWID;
CREATE TABLE chunk (
  id TEXT PRIMARY KEY, doc TEXT NOT NULL REFERENCES document ON DELETE CASCADE, ordinal INTEGER NOT NULL, start INTEGER NOT
  NULL, end INTEGER NOT NULL, prefix_start INTEGER, prefix_end INTEGER, path TEXT NOT NULL, kind TEXT NOT NULL, tokens INTEGER
  NOT NULL, grp TEXT, split TEXT, state TEXT NOT NULL DEFAULT 'current', manual INTEGER NOT NULL DEFAULT 0, cleaned TEXT,
  clean_key TEXT);
CREATE INDEX chunk_of_doc ON chunk (doc, state, start);
CREATE TABLE question (
  id TEXT PRIMARY KEY, chunk TEXT NOT NULL REFERENCES chunk ON DELETE CASCADE, ordinal INTEGER NOT NULL, text TEXT NOT NULL,
  type TEXT NOT NULL, difficulty TEXT NOT NULL DEFAULT '', persona TEXT NOT NULL DEFAULT '', origin TEXT NOT NULL,
  recipe TEXT NOT NULL, held_out INTEGER NOT NULL DEFAULT 0, state TEXT NOT NULL DEFAULT 'current');
CREATE INDEX question_of_chunk ON question (chunk, state);
CREATE TABLE answer (
  id TEXT PRIMARY KEY, question TEXT NOT NULL REFERENCES question ON DELETE CASCADE, text TEXT NOT NULL, thinking TEXT,
  thinking_origin TEXT, turns TEXT, origin TEXT NOT NULL, model TEXT, recipe TEXT NOT NULL, finish_reason TEXT, call TEXT,
  state TEXT NOT NULL DEFAULT 'current', decision TEXT, dup_of TEXT, dup_kind TEXT);
CREATE INDEX answer_of_question ON answer (question, state);
CREATE TABLE evidence (answer TEXT NOT NULL REFERENCES answer ON DELETE CASCADE, ordinal INTEGER NOT NULL, quote TEXT NOT NULL,
  start INTEGER NOT NULL, end INTEGER NOT NULL, match TEXT NOT NULL, PRIMARY KEY (answer, ordinal)) WITHOUT ROWID;
CREATE TABLE rejected (answer TEXT NOT NULL REFERENCES answer ON DELETE CASCADE, text TEXT NOT NULL, origin TEXT NOT NULL,
  call TEXT, PRIMARY KEY (answer, origin)) WITHOUT ROWID;
CREATE TABLE verdict (answer TEXT NOT NULL REFERENCES answer ON DELETE CASCADE, axis TEXT NOT NULL, score REAL NOT NULL,
  reason TEXT NOT NULL DEFAULT '', judge TEXT NOT NULL DEFAULT '', recipe TEXT NOT NULL, call TEXT, PRIMARY KEY (answer,
  axis)) WITHOUT ROWID;
CREATE TABLE flag (answer TEXT NOT NULL REFERENCES answer ON DELETE CASCADE, code TEXT NOT NULL, detail TEXT NOT NULL DEFAULT
'', blocks INTEGER NOT NULL, PRIMARY KEY (answer, code)) WITHOUT ROWID;
CREATE TABLE edit (id INTEGER PRIMARY KEY, answer TEXT NOT NULL, field TEXT NOT NULL, before TEXT NOT NULL, after TEXT NOT NULL,
  at TEXT NOT NULL);
CREATE INDEX edit_of_answer ON edit (answer);
CREATE TABLE job (
  id INTEGER PRIMARY KEY, stage TEXT NOT NULL, recipe TEXT NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL DEFAULT '',
  wanted TEXT NOT NULL DEFAULT '', began TEXT NOT NULL, ended TEXT, pid INTEGER, pid_started REAL);
CREATE TABLE unit (
  id TEXT PRIMARY KEY, stage TEXT NOT NULL, subject TEXT NOT NULL, recipe TEXT NOT NULL, job INTEGER, state TEXT NOT NULL
  DEFAULT 'queued', attempts INTEGER NOT NULL DEFAULT 0, next_try REAL NOT NULL DEFAULT 0, error_code TEXT, error TEXT, call
  TEXT);
CREATE INDEX unit_of_stage ON unit (stage, recipe, state);
CREATE TABLE llm_call (
  request_hash TEXT PRIMARY KEY, stage TEXT NOT NULL, unit TEXT NOT NULL, base_url TEXT NOT NULL, model TEXT NOT NULL, request
  BLOB NOT NULL, response BLOB NOT NULL, http INTEGER NOT NULL, tokens_in INTEGER NOT NULL, tokens_out INTEGER NOT NULL, ms
  INTEGER NOT NULL, at TEXT NOT NULL);
CREATE TABLE setting (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE export (version TEXT PRIMARY KEY, format TEXT NOT NULL, rows_hash TEXT NOT NULL, counts TEXT NOT NULL, recipe
TEXT NOT NULL, at TEXT NOT NULL);
"""
MIGRATIONS = {1: "CREATE INDEX edit_of_answer ON edit (answer);"}
"""What makes of a database of this version one of the next."""


class Store:
    """One connection. Used from the thread that made it."""

    def __init__(self, path: Path):
        self.path = path
        try:
            self.db = sqlite3.connect(path, isolation_level=None, timeout=30)
            self.db.row_factory = sqlite3.Row
            self.db.execute("PRAGMA journal_mode=WAL")
            self.db.execute("PRAGMA foreign_keys=ON")
            self.db.execute("PRAGMA synchronous=FULL")
            version = self.db.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                self.db.executescript(f"BEGIN;{SCHEMA}PRAGMA user_version={VERSION};COMMIT;")
            elif version < VERSION:
                steps = "".join(MIGRATIONS[number] for number in range(version, VERSION))
                self.db.executescript(f"BEGIN;{steps}PRAGMA user_version={VERSION};COMMIT;")
        except sqlite3.DatabaseError as error:
            raise DataError(
                f"{path} is no project database: {error}.", "Restore it from a copy, or make a new project."
            ) from None
        if version > VERSION:
            raise DataError(
                f"{path} was written by a newer Luthier (version {version}).", "Use that one, or make a new project."
            )

    def close(self) -> None:
        self.db.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """All of it or nothing. May be nested; the outermost one decides."""
        if self.db.in_transaction:
            yield self.db
            return
        self.db.execute("BEGIN IMMEDIATE")
        try:
            yield self.db
        except BaseException:
            self.db.execute("ROLLBACK")
            raise
        self.db.execute("COMMIT")

    def all(self, sql: str, *values: object) -> list[sqlite3.Row]:
        return self.db.execute(sql, values).fetchall()

    def one(self, sql: str, *values: object) -> sqlite3.Row | None:
        return self.db.execute(sql, values).fetchone()

    def value(self, sql: str, *values: object) -> object:
        """The first column of the first row, None where there is none."""
        row = self.one(sql, *values)
        return row[0] if row else None

    def each(self, sql: str, *values: object) -> Iterator[sqlite3.Row]:
        """Rows one by one, so that a large table costs no memory."""
        cursor = self.db.execute(sql, values)
        while rows := cursor.fetchmany(1000):
            yield from rows

    def write(self, sql: str, *values: object) -> int:
        """One statement in a transaction of its own, or in the one that is open. Returns the rows changed."""
        return self.db.execute(sql, values).rowcount

    def put(self, table: str, **values: object) -> None:
        """Insert a row, or replace the one with the same primary key (its other columns too)."""
        columns = ", ".join(values)
        marks = ", ".join("?" * len(values))
        keys = self._keys(table)
        rest = ", ".join(f"{name}=excluded.{name}" for name in values if name not in keys)
        action = f"DO UPDATE SET {rest}" if rest else "DO NOTHING"
        target = ", ".join(keys)
        self.db.execute(
            f"INSERT INTO {table} ({columns}) VALUES ({marks}) ON CONFLICT ({target}) {action}", tuple(values.values())
        )

    def _keys(self, table: str) -> list[str]:
        return [row["name"] for row in self.db.execute(f"PRAGMA table_info({table})") if row["pk"]]
