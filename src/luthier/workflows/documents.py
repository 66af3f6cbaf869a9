"""Documents to a registered dataset: files -> texts -> chunks -> split -> questions -> answers -> checks -> rows -> files ->
proof.

Enters: a project folder. Leaves: an immutable version under exports/, registered, and read back by the trainer's own reader.
The stages themselves are in documents/steps; here they are put in order and joined with datasets/.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from luthier.config import Config
from luthier.datasets.lookup import INFO_FILE, read_info
from luthier.datasets.read import read_samples
from luthier.datasets.write import entry_for, rows_of, write_rows
from luthier.documents.base import shorten
from luthier.documents.card import make_card
from luthier.documents.leaks import find_leaks
from luthier.documents.project import Project
from luthier.documents.publish import SPLITS, exported_rows, leak_rows, rows_hash, samples, wants_of
from luthier.documents.recipe import ExportPart
from luthier.documents.steps.check import check_rows, dedup_rows
from luthier.documents.steps.chunk import ChunkReport, chunk_documents
from luthier.documents.steps.extract import extract_rows
from luthier.documents.steps.parse import ParseReport, parse_documents
from luthier.documents.steps.rows import activate_extracted
from luthier.documents.steps.split import require_split, split_chunks
from luthier.errors import DataError
from luthier.runtime.files import write_atomic
from luthier.types import Sample

SHOWN_LEAKS = 5
FORMATTING = {"preference": "sharegpt"}
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """One version. counts: rows by split.  is_new: False where the
    same rows had been exported before, and that version is named instead."""

    version: str
    folder: Path
    name: str
    counts: dict[str, int]
    registered_in: list[Path] = field(default_factory=list)
    is_new: bool = True


def run(
    project: Project,
    tell: Tell,
    *,
    go: Callable[[str], bool] = lambda _: True,
    retry_failed: bool = False,
    dataset_dir: Path | None = None,
) -> Exported:
    """All stages in order; what is up to date is not done again. tell: gets one line a stage.

    go: asked with the estimate after the pilot of a stage that calls a model; False stops there.
    Raises DataError where nothing could be read, and EngineError where the endpoint stopped the work.
    """
    make_rows(project, tell, go=go, retry_failed=retry_failed)
    exported = export(project, dataset_dir=dataset_dir)
    counts = ", ".join(f"{split} {count:,}" for split, count in exported.counts.items())
    tell(f"export   {exported.folder}: {counts}" + ("" if exported.is_new else " (nothing changed since)"))
    return exported


def make_rows(
    project: Project,
    tell: Tell,
    *,
    go: Callable[[str], bool] = lambda _: True,
    retry_failed: bool = False,
    progress: Callable[[int, int, str], None] | None = None,
) -> None:
    """All of run but the export. progress: (done, total, name) before each file that is read."""
    read(project, tell, progress)
    if project.recipe.ask.generator == "extract":
        tell(f"ask      {extract(project):,} new rows, without a model")
    else:
        from luthier.workflows.documents_calls import ask_and_answer

        ask_and_answer(project, tell, go, retry_failed=retry_failed)
    tell(_checked(project))


def read(project: Project, tell: Tell, progress: Callable[[int, int, str], None] | None = None) -> None:
    """Files to texts to chunks, each in its split: what there is before anything is asked."""
    tell(_parsed(parse(project, progress)))
    tell(_chunked(chunk(project)))
    sizes = split_chunks(project)
    total = sum(sizes.values()) or 1
    tell("split    " + ", ".join(f"{name} {sizes[name] / total:.0%}" for name in SPLITS if sizes[name]) + " of the characters")


def parse(project: Project, tell: Callable[[int, int, str], None] | None = None) -> ParseReport:
    """Step 1. Raises DataError where no document at all can be read."""
    if not project.store.value("SELECT count(*) FROM document"):
        raise DataError(f"{project.folder} has no documents.", f"Add some: luthier documents add {project.folder} FILES")
    report = parse_documents(project, tell)
    if not project.store.value("SELECT count(*) FROM document WHERE state='parsed'"):
        problems = "\n".join(f"  {message}" for _, message in report.problems) or "  (see luthier documents status)"
        raise DataError(f"none of the documents could be read:\n{problems}")
    return report


def chunk(project: Project) -> ChunkReport:
    """Step 2. Raises DataError where there is no text yet."""
    if not project.store.value("SELECT count(*) FROM document WHERE state='parsed'"):
        raise DataError("no document was parsed yet.", f"Run: luthier documents parse {project.folder}")
    return chunk_documents(project)


def extract(project: Project) -> int:
    """Questions and answers without a model. Returns the number of new rows."""
    require_split(project)
    added = extract_rows(project)
    activate_extracted(project)
    return added


def _parsed(report: ParseReport) -> str:
    failed = "".join(f"\n         not read: {message}" for _, message in report.problems)
    return f"parse    {len(report.read):,} documents read, {report.kept:,} up to date, {len(report.problems):,} failed{failed}"


def _chunked(report: ChunkReport) -> str:
    stale = f", {report.stale:,} went out of use" if report.stale else ""
    return f"chunk    {report.chunks:,} chunks, {report.documents:,} documents cut now{stale}"


def _checked(project: Project) -> str:
    flags = check_rows(project)
    exact, near = dedup_rows(project)
    found = ", ".join(f"{code} {count:,}" for code, count in flags.most_common()) or "no flags"
    return f"check    {found}; duplicates: {exact:,} exact, {near:,} near"


def export(project: Project, part: ExportPart | None = None, dataset_dir: Path | None = None) -> Exported:
    """Write a version, prove it, register it. Raises DataError for leaks between splits and where there is nothing to write."""
    part = part or project.recipe.export
    wants = wants_of(part)
    require_split(project)
    if part.format != "text":
        _refuse_leaks(project, part)
    rows = rows_hash(project, part)
    known = project.store.one("SELECT * FROM export WHERE rows_hash=? ORDER BY at DESC", rows)
    if known and (project.exports / known["version"] / INFO_FILE).is_file():
        folder = project.exports / known["version"]
        exported = Exported(
            version=known["version"],
            folder=folder,
            name=_dataset_name(project),
            counts=json.loads(known["counts"]),
            is_new=False,
        )
    else:
        exported = _write_version(project, part, wants, rows)
    where = dataset_dir or (Path(part.dataset_dir) if part.dataset_dir else None)
    if where:
        exported.registered_in.append(_register(exported, where))
    return exported


def _refuse_leaks(project: Project, part: ExportPart) -> None:
    leaks = find_leaks(lambda: leak_rows(project, part))
    if not leaks:
        return
    lines = []
    for leak in leaks[:SHOWN_LEAKS]:
        asked = [
            project.store.value(
                "SELECT question.text FROM question JOIN answer ON answer.question=question.id WHERE answer.id=?", id
            )
            for id in leak[:2]
        ]
        lines.append(f'  {leak.splits[0]} "{shorten(str(asked[0]), 50)}" and {leak.splits[1]} "{shorten(str(asked[1]), 50)}"')
    more = f"\n  and {len(leaks) - SHOWN_LEAKS} more" if len(leaks) > SHOWN_LEAKS else ""
    raise DataError(
        f"nothing was exported: {len(leaks)} rows stand, exactly or nearly, in two splits:\n" + "\n".join(lines) + more,
        "Run `luthier documents dedup` (it keeps one of each), or reject them in the review.",
    )


def _write_version(project: Project, part: ExportPart, wants: type[Sample], rows: str) -> Exported:
    version = f"v{1 + max((int(v[1:]) for v in _versions(project)), default=0)}"
    folder, draft = project.exports / version, project.exports / f".{version}.new"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    name = _dataset_name(project)
    formatting = FORMATTING.get(part.format, part.format)
    try:
        counts, info = {}, {}
        with (draft / "provenance.jsonl").open("wb") as sidecar:
            for split in SPLITS:
                file = draft / f"{split}.jsonl"
                found = rows_of(_noting(samples(project, part, split), sidecar), formatting, wants)
                count = write_rows(file, found)
                if not count:
                    file.unlink()
                    continue
                counts[split] = count
                info[name if split == "train" else f"{name}_{split}"] = entry_for(formatting, wants, file.name)
        if not counts.get("train"):
            raise DataError(f"{project.name} has no row to train on.", _why_empty(project, part))
        write_atomic(draft / INFO_FILE, json.dumps(info, ensure_ascii=False, indent=2) + "\n")
        _prove(draft, name, counts, wants)
        sums = {file.name: _sha256(file) for file in sorted(draft.glob("*.jsonl"))}
        write_atomic(draft / "README.md", make_card(project, version, counts, sums, name))
        draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    at = datetime.now(UTC).isoformat(timespec="seconds")
    recipe = project.recipe.key()
    project.store.put(
        "export", version=version, format=part.format, rows_hash=rows, counts=json.dumps(counts), recipe=recipe, at=at
    )
    return Exported(version=version, folder=folder, name=name, counts=counts)


def _noting(pairs: Iterable[tuple[Sample, dict[str, Any]]], sidecar: Any) -> Iterator[Sample]:
    """The samples; their provenance goes to the sidecar, line by line."""
    for sample, provenance in pairs:
        sidecar.write(orjson.dumps(provenance, option=orjson.OPT_APPEND_NEWLINE))
        yield sample


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _prove(folder: Path, name: str, counts: dict[str, int], wants: type[Sample]) -> None:
    """Read every row with the trainer's own reader. Raises DataError where a row is refused or missing."""
    for split, count in counts.items():
        dataset = name if split == "train" else f"{name}_{split}"
        read = sum(1 for _ in read_samples(Config(dataset=[dataset], dataset_dir=str(folder)), wants=wants))
        if read != count:
            raise DataError(
                f"{split}.jsonl has {count:,} rows, but the reader gave {read:,}.",
                "This is a fault of Luthier; please report it.",
            )


def _register(exported: Exported, dataset_dir: Path) -> Path:
    """Name the version in dataset_dir/dataset_info.json. An entry that is not of an export of this project is left alone."""
    info_file = dataset_dir / INFO_FILE
    info = read_info(info_file) if info_file.is_file() else {}
    own = read_info(exported.folder / INFO_FILE)
    exports = exported.folder.parent.resolve()
    for name in own:
        before = info.get(name)
        if before is not None and not (dataset_dir / str(before.get("file_name", ""))).resolve().is_relative_to(exports):
            raise DataError(
                f'{info_file} has a dataset "{name}" already, which is no export of this project.',
                "Rename it there, or the project's folder.",
            )
    for name, entry in own.items():
        file = (exported.folder / entry["file_name"]).resolve()
        base = dataset_dir.resolve()
        info[name] = entry | {"file_name": file.relative_to(base).as_posix() if file.is_relative_to(base) else str(file)}
    info_file.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(info_file, json.dumps(info, ensure_ascii=False, indent=2) + "\n")
    return info_file


def _versions(project: Project) -> list[str]:
    on_disk = [path.name for path in project.exports.glob("v*") if path.name[1:].isdigit()]
    return [*on_disk, *(row["version"] for row in project.store.all("SELECT version FROM export"))]


def _dataset_name(project: Project) -> str:
    return "_".join(project.name.replace(",", " ").split())


def _why_empty(project: Project, part: ExportPart) -> str:
    if part.format == "preference" and not any(exported_rows(project, part)):
        return "Preference pairs come from edits in the review, or from answer.weaker."
    return "luthier documents status shows what was left out, and why."
