"""A documents project: a folder with project.yaml, project.db, sources/, parsed/ and exports/.

Enters: a folder. Leaves: paths, the recipe, the store. This is the only file that knows the names inside the folder.
Sources are copied in under their hash, so a row's proof does not depend on a file that somebody moves.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path

from filelock import FileLock, Timeout

from luthier.documents.base import digest, joined, plural
from luthier.documents.readers import SUFFIXES, folder_kind
from luthier.documents.recipe import Recipe, load_recipe, read_values
from luthier.documents.store import Store
from luthier.errors import DataError
from luthier.runtime.files import write_atomic

TEMPLATE = """# A documents project of Luthier; what is left out has its default.   luthier documents run {name}
language: auto            # of each document; or zh, en
chunk: {{max_chars: 1600, min_chars: 300}}
split: {{val: 0.05, test: 0.05}}     # by document, before any question is asked

ask:
  generator: extract      # works without a model: questions from headings, definitions, steps, tables and FAQs
  # generator: model      # asks an OpenAI-compatible server:
  kind: manual            # manual, faq, spec, api, code, chat, law, topic or general

# endpoint:
#   base_url: http://127.0.0.1:8000/v1
#   model: qwen3
#   api_key_env: OPENAI_API_KEY      # the NAME of the variable; the key itself never stands in a file
#   concurrency: 8
#   price_in: 0.27                   # per million tokens, for the estimate and the budget
#   price_out: 1.10
# budget: {{money: 5.0, pilot: 20}}

export: {{format: alpaca}}  # or sharegpt, openai, preference, text
"""
FOLDER_LIMIT = 100_000


class Project:
    """An open project. Close it, or use it in a with statement."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.recipe: Recipe = load_recipe(self.recipe_file)
        self.store = Store(folder / "project.db")
        self._texts: tuple[str, str] | None = None

    @classmethod
    def create(cls, folder: Path, recipe_text: str | None = None) -> Project:
        """A new project. Raises DataError where the folder holds something else already."""
        if folder.exists() and any(folder.iterdir()):
            what = "is a project already" if (folder / "project.yaml").is_file() else "is not empty"
            raise DataError(f"{folder} {what}.", f"Choose another name, or go on with: luthier documents add {folder} FILES")
        for name in ("sources", "parsed", "exports"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        write_atomic(folder / "project.yaml", recipe_text or TEMPLATE.format(name=folder.name))
        return cls(folder)

    @classmethod
    def open(cls, folder: Path) -> Project:
        """Raises DataError where folder is no project."""
        if not (folder / "project.yaml").is_file():
            raise DataError(f"{folder} is no documents project.", f"Make one: luthier documents new {folder}")
        return cls(folder)

    @classmethod
    def open_or_prepare(cls, folder: Path) -> Project:
        """A project of which there may be no more than its project.yaml yet."""
        if (folder / "project.yaml").is_file():
            for name in ("sources", "parsed", "exports"):
                (folder / name).mkdir(exist_ok=True)
        return cls.open(folder)

    @cached_property
    def name(self) -> str:
        return self.folder.resolve().name

    @property
    def recipe_file(self) -> Path:
        return self.folder / "project.yaml"

    def save_recipe(self, text: str) -> None:
        """Replace project.yaml. Raises ConfigError, and changes nothing, where a key or a value is wrong."""
        read_values(text, self.recipe_file.name)
        write_atomic(self.recipe_file, text)
        self.recipe = load_recipe(self.recipe_file)

    @property
    def exports(self) -> Path:
        return self.folder / "exports"

    def source(self, row: object) -> Path:
        """The kept copy of a document's file."""
        return self.folder / "sources" / row["file"]  # type: ignore[index]

    def text_file(self, text_sha: str) -> Path:
        return self.folder / "parsed" / f"{text_sha}.md"

    def text(self, text_sha: str) -> str:
        """The parsed text of a document; the last one is kept at hand."""
        if self._texts is None or self._texts[0] != text_sha:
            data = self.text_file(text_sha).read_bytes()
            self._texts = (text_sha, data.decode("utf-8", "surrogatepass"))
        return self._texts[1]

    def keep_text(self, text: str) -> str:
        """Store a parsed text under its hash, which is returned."""
        data = text.encode("utf-8", "surrogatepass")
        sha = hashlib.sha256(data).hexdigest()[:32]
        (self.folder / "parsed").mkdir(exist_ok=True)
        if not self.text_file(sha).is_file():
            write_atomic(self.text_file(sha), data)
        return sha

    @contextmanager
    def working(self) -> Iterator[None]:
        """The right to change this project: one process at a time. Freed by the system, however the process ends."""
        lock = FileLock(self.folder / "project.lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise DataError(
                f"another process is working on {self.folder}.",
                "Wait for it, or stop it: luthier documents status shows its job.",
            ) from None
        try:
            yield
        finally:
            lock.release()

    def close(self) -> None:
        self.store.close()

    def __enter__(self) -> Project:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def add_files(project: Project, paths: Sequence[Path]) -> tuple[list[str], list[str]]:
    """Copy files, or all files of folders, into the project. Returns names that are new or changed, and notes.

    A file of the same name with other content is a new version: chunks that did not change keep their rows.
    Raises DataError for a path that is not there; nothing is added then.
    """
    missing = [str(path) for path in paths if not path.exists()]
    if missing:
        raise DataError(f"no such file or folder: {', '.join(missing)}.", "Nothing was added.")
    changed, notes = [], []
    recipe = project.recipe.parse
    for path in paths:
        for name, file in _files(path, recipe.include, recipe.exclude, notes):
            note = _add(project, name, file)
            if note is None:
                changed.append(name)
            elif note:
                notes.append(note)
    return changed, notes


def _files(path: Path, include: Sequence[str], exclude: Sequence[str], notes: list[str]) -> Iterator[tuple[str, Path]]:
    if path.is_file():
        yield path.name, path
        return
    root = path.resolve()
    if folder_kind(root) == "mineru":
        yield from ((f"{root.name}/{file.name}", file) for file in sorted(root.glob("*_content_list.json")))
        return
    found, excluded, unknown = 0, [], Counter()
    for file in sorted(root.rglob("*")):
        name = file.relative_to(root)
        if not file.is_file() or any(part.startswith(".") for part in name.parts):
            continue
        if any(fnmatch(part, pattern) for pattern in exclude for part in (*name.parts, name.as_posix())):
            excluded.append(name.name)
        elif any(fnmatch(name.as_posix(), pattern) for pattern in include) if include else file.suffix.lower() in SUFFIXES:
            found += 1
            yield f"{root.name}/{name.as_posix()}", file
        else:
            unknown[file.suffix.lower() or "no extension"] += 1
        if found > FOLDER_LIMIT:
            raise DataError(f"{path} holds more than {FOLDER_LIMIT:,} files.", "Add its parts one by one.")
    if excluded:
        notes.append(f"{path}: {plural(len(excluded), 'file')} left out by parse.exclude: {joined(sorted(set(excluded)))}")
    if unknown:
        kinds = ", ".join(f"{count:,} {suffix}" for suffix, count in unknown.most_common(8))
        notes.append(f"{path}: {plural(unknown.total(), 'file')} of kinds that are not read: {kinds}")
    if not found:
        notes.append(f"{path}: no file of a known kind ({', '.join(sorted(SUFFIXES))})")


def _add(project: Project, name: str, file: Path) -> str | None:
    """None where the document is new or changed, else what to say about it ("" for nothing)."""
    store = project.store
    data = file.read_bytes()
    sha = hashlib.sha256(data).hexdigest()
    before = store.one("SELECT sha256 FROM document WHERE name=?", name)
    if before and before["sha256"] == sha:
        return ""
    twin = store.value("SELECT name FROM document WHERE sha256=? AND name<>?", sha, name)
    if twin:
        return f"{name} is the same, byte for byte, as {twin}: left out"
    kept = f"{sha[:16]}{file.suffix.lower()}"
    target = project.folder / "sources" / kept
    target.parent.mkdir(exist_ok=True)
    if not target.is_file():
        write_atomic(target, data)
    values = {"sha256": sha, "file": kept, "num_bytes": len(data), "state": "new", "problem": None, "parse_key": None}
    with store.writing():
        if before:
            sets = ", ".join(f"{key}=?" for key in values)
            store.write(f"UPDATE document SET {sets} WHERE name=?", *values.values(), name)
        else:
            store.put("document", id=digest(name)[:16], name=name, **values)
    return None


def add_topic(project: Project, topic: str) -> bool:
    """A topic in place of a document, for ask.kind: topic. False where the project has it already."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{digest(topic)[:8]}.md"
        file.write_text(f"# {topic}\n\n{topic}\n", encoding="utf-8")
        return _add(project, f"topics/{file.name}", file) is None


def remove_document(project: Project, name: str) -> None:
    """Take a document with its chunks and rows out of the project; its kept file stays."""
    if not project.store.write("DELETE FROM document WHERE name=?", name):
        raise DataError(f'the project has no document "{name}".', "luthier documents status lists them.")
