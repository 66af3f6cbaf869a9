"""luthier documents: from files to a dataset that a training reads.

What enters: a project folder and what to do. What leaves: lines for a person, or JSON with --json. The work itself is in
workflows/documents.py.
"""

from __future__ import annotations

import json
import logging
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from luthier.errors import ConfigError

log = logging.getLogger(__name__)
command = typer.Typer(no_args_is_help=True, add_completion=False, help="Make a dataset from your documents.")
Name = Annotated[Path, typer.Argument(help="The project: a folder.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask after the pilot.")]
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Ask failed units again; their raw answers are kept.")]
DatasetDir = Annotated[Path | None, typer.Option("--dataset_dir", help="Also register there: the folder of dataset_info.json.")]


def _open(name: Path) -> Any:
    from luthier.documents.project import Project

    return Project.open(name)


@command.command()
def new(
    name: Name,
    add: Annotated[list[Path] | None, typer.Option("--add", help="Files or folders to begin with; may be repeated.")] = None,
) -> None:
    """Make an empty project: a folder with project.yaml to edit.

    Example: luthier documents new manual --add docs/
    """
    from luthier.documents.project import Project

    with Project.create(name) as project:
        typer.echo(f"{name}: a new project. What to do is in {project.recipe_file}.")
    if add:
        add_(name, add)
    else:
        typer.echo(f"Next: luthier documents add {name} FILES")


@command.command("add")
def add_(
    name: Name,
    paths: Annotated[list[Path] | None, typer.Argument(help="Files or folders.")] = None,
    topic: Annotated[list[str] | None, typer.Option("--topic", help="A topic without a text (ask.kind: topic).")] = None,
) -> None:
    """Copy files, or all documents of a folder, into the project.

    A file with the name of an earlier one is its new version: parts that did not change keep their rows.

    Example: luthier documents add manual handbook.pdf faq.xlsx docs/
    """
    from luthier.documents.project import add_files, add_topic

    if not paths and not topic:
        raise ConfigError("nothing to add was given.", f"Write for example: luthier documents add {name} handbook.pdf")
    with _open(name) as project, project.working():
        changed, notes = add_files(project, paths or [])
        changed += [words for words in topic or [] if add_topic(project, words)]
        total = project.store.value("SELECT count(*) FROM document")
    for note in notes:
        log.warning(note)
    typer.echo(f"{len(changed):,} documents added or changed; the project has {total:,}.")


@command.command()
def remove(name: Name, documents: Annotated[list[str], typer.Argument(help="Documents, as status names them.")]) -> None:
    """Take documents with their chunks and rows out of the project.

    Example: luthier documents remove manual old.pdf
    """
    from luthier.documents.project import remove_document

    with _open(name) as project, project.working():
        for document in documents:
            remove_document(project, document)
    typer.echo(f"{len(documents):,} documents removed.")


@command.command()
def parse(name: Name) -> None:
    """Read the files that are new or changed, each in a process with limits of time and memory.

    Example: luthier documents parse manual
    """
    from luthier.workflows import documents

    with _open(name) as project, project.working():
        report = documents.parse(project)
    typer.echo(f"{len(report.read):,} documents read, {report.kept:,} up to date, {len(report.problems):,} failed.")
    for _, message in report.problems:
        log.warning(message)


@command.command()
def chunk(
    name: Name,
    list_: Annotated[bool, typer.Option("--list", help="Show all chunks.")] = False,
    split: Annotated[str | None, typer.Option("--split", help="ID@OFFSET: cut a chunk at a character of its document.")] = None,
    merge: Annotated[str | None, typer.Option("--merge", help="ID,ID: make one chunk of two neighbours.")] = None,
    as_json: Json = False,
) -> None:
    """Cut texts into chunks at headings, tables, lists and sentences; or change the cuts by hand.

    Example: luthier documents chunk manual --list
    """
    from luthier.documents.steps.chunk import merge_chunks, split_chunk
    from luthier.workflows import documents

    with _open(name) as project, project.working():
        if split:
            id, at, offset = split.partition("@")
            if not at or not offset.isdigit():
                raise ConfigError(f'--split "{split}" is not ID@OFFSET.', "Write for example: --split 3f2a@1200")
            split_chunk(project, id, int(offset))
        elif merge:
            first, comma, second = merge.partition(",")
            if not comma:
                raise ConfigError(f'--merge "{merge}" is not ID,ID.', "Write for example: --merge 3f2a,91bc")
            merge_chunks(project, first, second)
        report = documents.chunk(project)
        sql = """SELECT chunk.id, document.name AS document, chunk.start, chunk.end, chunk.path, chunk.kind, chunk.split,
            chunk.tokens FROM chunk JOIN document ON document.id=chunk.doc WHERE chunk.state='current' ORDER BY document.name,
            chunk.start"""
        rows = [dict(row) for row in project.store.all(sql)] if list_ or as_json else []
    for row in rows:
        row["path"] = json.loads(row["path"])
        if as_json:
            typer.echo(json.dumps(row, ensure_ascii=False))
        else:
            typer.echo(
                f"{row['id'][:8]}  {row['document']} {row['start']}-{row['end']}  {' > '.join(row['path'])}  ({row['kind']})"
            )
    if not as_json:
        typer.echo(
            f"{report.chunks:,} chunks; {report.documents:,} documents cut now, {report.stale:,} old chunks went out of use."
        )


@command.command()
def split(name: Name) -> None:
    """Give each part of the documents to train, val or test, before anything is asked.

    Example: luthier documents split manual
    """
    from luthier.documents.steps.split import split_chunks

    with _open(name) as project, project.working():
        sizes = split_chunks(project)
    total = sum(sizes.values()) or 1
    for place, size in sizes.most_common():
        typer.echo(f"{place:<6}{size:>12,} characters  {size / total:.1%}")


@command.command()
def ask(name: Name, yes: Yes = False, retry_failed: RetryFailed = False) -> None:
    """Questions about each chunk, by the recipe's generator: extract works without a model, model asks the endpoint.

    Example: luthier documents ask manual
    """
    from luthier.workflows import documents

    with _open(name) as project, project.working():
        if project.recipe.ask.generator == "extract":
            typer.echo(f"{documents.extract(project):,} new rows, questions and answers together, without a model.")
            return
        from luthier.workflows import documents_calls

        documents_calls.ask(project, log.info, _go(yes), retry_failed=retry_failed)


@command.command()
def answer(name: Name, yes: Yes = False, retry_failed: RetryFailed = False) -> None:
    """An answer to each question, with quotes that are looked up in the source.

    Example: luthier documents answer manual --retry-failed
    """
    _calls("answer", name, yes, retry_failed)


@command.command()
def judge(name: Name, yes: Yes = False, retry_failed: RetryFailed = False) -> None:
    """Filters, then a model's verdict on each row: supported by the source, and useful alone.

    Example: luthier documents judge manual
    """
    _calls("judge", name, yes, retry_failed)


def _calls(verb: str, name: Path, yes: bool, retry_failed: bool) -> None:
    with _open(name) as project, project.working():
        if project.recipe.ask.generator == "extract":
            typer.echo(f"Nothing to {verb}: ask.generator is extract, whose answers are the source's own words.")
            return
        from luthier.workflows import documents_calls

        getattr(documents_calls, verb)(project, log.info, _go(yes), retry_failed=retry_failed)


@command.command()
def test(name: Name, as_json: Json = False) -> None:
    """Three small calls to the recipe's endpoint: does it answer, keep to JSON, think, and how fast is it.

    Example: luthier documents test manual
    """
    from luthier.documents.jobs.probe import probe

    with _open(name) as project:
        endpoint = project.recipe.endpoint
    if not (endpoint.base_url and endpoint.model):
        raise ConfigError("endpoint.base_url and endpoint.model are not both set.", f"Set them in {name}/project.yaml.")
    found = probe(endpoint)
    typer.echo(json.dumps(asdict(found), ensure_ascii=False) if as_json else found.text())


@command.command()
def pause(name: Name) -> None:
    """Let the running job of another terminal finish its calls in the air and stop; `run` goes on from there.

    Example: luthier documents pause manual
    """
    with _open(name) as project:
        running = project.store.write("UPDATE job SET wanted='pause' WHERE state='running'")
    typer.echo("The job stops when its calls in the air are answered." if running else "No job is running.")


@command.command()
def review(
    name: Name,
    flag: Annotated[str | None, typer.Option("--flag", help="Only rows with this flag.")] = None,
    decision: Annotated[str, typer.Option("--decision", help="open, accepted, rejected or any.")] = "open",
    limit: Annotated[int, typer.Option(min=1, help="How many rows.")] = 10,
    accept: Annotated[list[str] | None, typer.Option("--accept", help="Accept this row; may be repeated.")] = None,
    reject: Annotated[list[str] | None, typer.Option("--reject", help="Reject this row; may be repeated.")] = None,
    edit: Annotated[str | None, typer.Option("--edit", help="Change this row, with --question or --answer.")] = None,
    question: Annotated[str | None, typer.Option("--question", help="The new question.")] = None,
    answer_: Annotated[
        str | None, typer.Option("--answer", help="The new answer; the old one becomes the rejected side of a pair.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Rows to look at, those in doubt first, with the source that proves them; accept, reject, edit.

    Example: luthier documents review manual --flag own_numbers
    """
    from luthier.documents import review as reviewing

    with _open(name) as project:
        if edit:
            if question is None and answer_ is None:
                raise ConfigError("--edit needs --question or --answer.", 'Write for example: --edit 3f2a --answer "..."')
            for field, text in (("question", question), ("answer", answer_)):
                if text is not None:
                    reviewing.edit(project, edit, field, text)
        decided = reviewing.decide(project, accept or [], "accepted") + reviewing.decide(project, reject or [], "rejected")
        if edit or decided:
            typer.echo(f"{decided + bool(edit)} rows decided.")
            return
        rows = reviewing.queue(project, flag=flag, decision=None if decision == "any" else decision, limit=limit)
        for row in rows:
            found = reviewing.details(project, row)
            if as_json:
                typer.echo(json.dumps(found, ensure_ascii=False))
            else:
                _show_row(found)


def _show_row(found: dict[str, Any]) -> None:
    where = f"{found['document']} {found['source_start']}" + (f", page {found['page']}" if found["page"] else "")
    typer.echo(typer.style(f"{found['id'][:8]}  {where}  {' > '.join(found['section'])}", dim=True))
    typer.echo(f"  Q  {found['question']}\n  A  {found['answer'][:400]}")
    for quote in found["quotes"]:
        typer.echo(f"  {quote['match']:<6}{' '.join(quote['quote'].split())[:120]}")
    for entry in found["flags"]:
        typer.echo(typer.style(f"  {entry['code']}: {entry['detail']}", fg="red" if entry["blocks"] else "yellow"))
    for verdict in found["verdicts"]:
        typer.echo(f"  {verdict['axis']} {verdict['score']:g}  {verdict['reason']}")


@command.command()
def dedup(name: Name) -> None:
    """Flag what is wrong with rows, and mark rows that say the same; nothing is deleted.

    Example: luthier documents dedup manual
    """
    from luthier.documents.filters import meanings
    from luthier.documents.steps.check import check_rows, dedup_rows

    with _open(name) as project, project.working():
        flags = check_rows(project)
        exact, near = dedup_rows(project)
    for code, count in flags.most_common():
        typer.echo(f"{count:>7,}  {code}: {meanings()[code]['words']}")
    typer.echo(f"{exact:,} exact and {near:,} near duplicates are marked and will not be exported.")


@command.command()
def export(
    name: Name,
    format_: Annotated[str | None, typer.Option("--format", help="alpaca, sharegpt, openai, preference or text.")] = None,
    dataset_dir: DatasetDir = None,
    as_json: Json = False,
) -> None:
    """Write a version of the dataset that never changes, prove that the trainer reads it, and register it.

    Example: luthier documents export manual --format openai --dataset_dir data
    """
    from luthier.documents.recipe import make_recipe
    from luthier.workflows import documents

    with _open(name) as project, project.working():
        part = project.recipe.export
        if format_:
            raw = project.recipe.model_dump(mode="json", exclude_unset=True)
            part = make_recipe(raw | {"export": {**(raw.get("export") or {}), "format": format_}}, "--format").export
        exported = documents.export(project, part, dataset_dir)
    _show_exported(exported, as_json)


@command.command()
def run(
    name: Annotated[Path, typer.Argument(help="The project, or a project.yaml with sources: [...].")],
    yes: Yes = False,
    retry_failed: RetryFailed = False,
    dataset_dir: DatasetDir = None,
    as_json: Json = False,
) -> None:
    """Everything in order: parse, chunk, split, ask, answer, judge, check, dedup, export. What is up to date is not done again.

    Given a project.yaml with `sources`, the project is made in its folder first.

    Example: luthier documents run manual
    """
    from luthier.documents.project import Project, add_files
    from luthier.workflows import documents

    folder = name.parent if name.is_file() else name
    with Project.open_or_prepare(folder) as project, project.working():
        if project.recipe.sources:
            changed, notes = add_files(project, [folder / source for source in project.recipe.sources])
            log.info(f"add      {len(changed):,} documents added or changed")
            for note in notes:
                log.warning(note)
        exported = documents.run(project, log.info, go=_go(yes), retry_failed=retry_failed, dataset_dir=dataset_dir)
    _show_exported(exported, as_json)


@command.command()
def status(name: Name, as_json: Json = False) -> None:
    """Where the project stands: documents, chunks, rows, jobs, what was left out, and what calls cost so far.

    Example: luthier documents status manual
    """
    from luthier.workflows.documents_status import status_of

    with _open(name) as project:
        found = status_of(project)
    if as_json:
        typer.echo(json.dumps(asdict(found), ensure_ascii=False, indent=2))
    else:
        typer.echo(found.text())


def _go(yes: bool) -> Any:
    def ask(estimate: str) -> bool:
        if yes or not sys.stdin.isatty():
            log.info(f"{estimate}\n         going on (the budget is the limit)")
            return True
        return typer.confirm(f"{estimate}\nGo on?", default=True)

    return ask


def _show_exported(exported: Any, as_json: bool) -> None:
    if as_json:
        plain = {key: value for key, value in asdict(exported).items() if key not in ("folder", "registered_in")}
        plain |= {"folder": str(exported.folder), "registered_in": [str(path) for path in exported.registered_in]}
        typer.echo(json.dumps(plain, ensure_ascii=False))
        return
    counts = ", ".join(f"{split} {count:,}" for split, count in exported.counts.items())
    typer.echo(f"{exported.folder}: {counts}" + ("" if exported.is_new else "  (the same rows as before; no new version)"))
    for path in exported.registered_in:
        typer.echo(f"registered in {path}")
    where = exported.registered_in[0].parent if exported.registered_in else exported.folder
    held = next((f" --eval_dataset {exported.name}_{split}" for split in ("val", "test") if split in exported.counts), "")
    typer.echo(
        f"Train on it: luthier train --model_name_or_path starter --dataset {exported.name} --dataset_dir {where}{held} "
        f"--output_dir runs/{exported.name}"
    )
