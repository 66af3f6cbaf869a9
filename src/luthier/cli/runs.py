"""`luthier runs`: list, show, logs, stop, resume, rm.

What enters: a run folder, a run's name, or nothing for the newest run. What leaves: text, JSON with --json, and what the verbs
say. Names inside a run folder are for runs/layout.py to know.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from luthier.errors import LuthierError
from luthier.runs import Run, find_run, known_runs, shown_path
from luthier.runtime.progress import duration

command = typer.Typer(
    add_completion=False, help="List, show, follow, stop, resume and remove runs.\n\nExample: luthier runs list"
)

Name = Annotated[str | None, typer.Argument(help="A run folder or name; the newest run if left out.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="For programs.")]

COLOURS = {"running": "green", "queued": "cyan", "stopping": "yellow", "stopped": "yellow", "failed": "red", "died": "red"}
POLL_S = 0.3


@command.callback(invoke_without_command=True)
def default(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        list_runs()


@command.command("list")
def list_runs(as_json: Json = False) -> None:
    """All runs that are known, newest first, from any folder.

    Example: luthier runs list --json
    """
    rows = [(run, run.status()) for run in known_runs()]
    if as_json:
        typer.echo(json.dumps([{"folder": str(run.folder), **status} for run, status in rows], ensure_ascii=False))
        return
    if not rows:
        typer.echo("No runs yet. luthier train makes one; luthier quickstart shows how.")
        return
    head = ("NAME", "STATE", "STAGE", "MODEL", "STEP", "LOSS", "TIME", "FOLDER")
    table = [head] + [_list_row(run, status) for run, status in rows]
    widths = [max(len(row[i]) for row in table) for i in range(len(head))]
    for row in table:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        cells[1] = typer.style(cells[1], fg=COLOURS.get(row[1]))
        typer.echo("  ".join(cells).rstrip())


@command.command()
def show(name: Name = None, as_json: Json = False) -> None:
    """Where a run stands: state, numbers, results, files.

    Example: luthier runs show runs/identity
    """
    run = find_run(name)
    status = run.status()
    if as_json:
        details = {"folder": str(run.folder), **status, "results": run.read_results(), "checkpoints": _steps(run)}
        typer.echo(json.dumps(details, ensure_ascii=False))
        return
    typer.echo(f"{run.folder}")
    for label, value in _facts(run, status).items():
        typer.echo(f"  {label:<13}{value}")
    for label, value in run.read_results().items():
        typer.echo(f"  {label:<30}{value:.6g}" if isinstance(value, float) else f"  {label:<30}{value}")
    if run.curve_reading.is_file():
        typer.echo("\n" + run.curve_reading.read_text(encoding="utf-8").strip())


@command.command()
def logs(
    name: Name = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run ends.")] = False,
    lines: Annotated[int | None, typer.Option("--lines", "-n", min=0, help="Only the last lines.")] = None,
) -> None:
    """What a run has said.

    Example: luthier runs logs -f runs/identity
    """
    run = find_run(name)
    if not run.log_file.is_file() and not (follow and run.is_live):
        raise LuthierError(f"{run.folder} has no log.")
    for text in _log_text(run, lines, follow):
        sys.stdout.write(text)
        sys.stdout.flush()
    if follow:
        typer.echo(f"The run is {_ending(run.status())}.", err=True)


@command.command()
def stop(
    name: Name = None,
    now: Annotated[bool, typer.Option("--now", help="Kill it: what came after the last checkpoint is lost.")] = False,
    wait: Annotated[bool, typer.Option(help="Wait until it has ended.")] = True,
) -> None:
    """Finish the step, save, and end.

    Example: luthier runs stop runs/identity
    """
    run = find_run(name)
    status = run.status()
    if not run.is_live:
        raise LuthierError(f"{run.folder} is not running: it is {_ending(status)}.")
    if now:
        run.kill("killed by luthier runs stop --now")
    else:
        run.request_stop()
        typer.echo(f"Asked {shown_path(run.folder)} to finish its step, save and end.")
    while wait and run.is_live:
        time.sleep(POLL_S)
    status = run.status()
    typer.echo(f"The run is {_ending(status)}, step {status.get('step', 0)} of {status.get('total_steps', '?')}.")
    if not run.is_live and run.checkpoints():
        typer.echo(f"Go on from {run.checkpoints()[0].name} with: luthier runs resume {shown_path(run.folder)}")


@command.command(context_settings={"ignore_unknown_options": True})
def resume(
    name: Name = None,
    changes: Annotated[list[str] | None, typer.Argument(help="Settings to change, as key=value.", show_default=False)] = None,
    detach: Annotated[bool | None, typer.Option("--detach/--no-detach", help="As it was started, if left out.")] = None,
) -> None:
    """Go on from the newest good checkpoint, with the settings of the run.

    Example: luthier runs resume runs/identity --detach
    """
    from luthier.cli.train import command as train

    if name and "=" in name and not Path(name).exists():
        name, changes = None, [name, *(changes or [])]
    run = find_run(name)
    status = run.status()
    if run.is_live:
        raise LuthierError(f"{run.folder} is {status['state']}: there is nothing to resume.")
    if status.get("state") == "finished" and not changes:
        remedy = f"To train longer: luthier runs resume {shown_path(run.folder)} num_train_epochs=..."
        raise LuthierError(f"{run.folder} has finished: there is nothing to resume.", remedy)
    words = [str(run.config_file), "resume_from_checkpoint=auto", "overwrite_output_dir=false", *(changes or [])]
    if status.get("detached") if detach is None else detach:
        words.append("--detach")
    if status.get("cwd") and Path(status["cwd"]).is_dir():
        os.chdir(status["cwd"])  # the configuration's relative paths begin there
    raise typer.Exit(train(words))


@command.command()
def rm(
    names: Annotated[list[str], typer.Argument(help="Run folders or names.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete run folders with everything in them: model, checkpoints, logs.

    Example: luthier runs rm runs/identity --yes
    """
    runs = [find_run(name) for name in names]
    for run in runs:
        if run.is_live:
            raise LuthierError(f"{run.folder} is {run.status()['state']}.", f"luthier runs stop {shown_path(run.folder)}")
    if not yes:
        if not sys.stdin.isatty():
            raise LuthierError("runs rm asks before it deletes, and there is no terminal to ask on.", "Add --yes.")
        typer.confirm("Delete " + ", ".join(str(run.folder) for run in runs) + "?", abort=True)
    for run in runs:
        run.remove()
        typer.echo(f"Deleted {run.folder}")


def _list_row(run: Run, status: dict[str, Any]) -> tuple[str, ...]:
    loss = status.get("loss")
    step = f"{status['step']}/{status.get('total_steps') or '?'}" if "step" in status else "-"
    return (
        str(status.get("name") or run.folder.name),
        str(status.get("state")),
        str(status.get("stage") or "-") if run.kind == "train" else run.kind,
        Path(str(status.get("model_name_or_path") or "-")).name,
        step,
        f"{loss:.4f}" if isinstance(loss, float) else "-",
        _time(status),
        shown_path(run.folder),
    )


def _time(status: dict[str, Any]) -> str:
    """From the start of the work to its end, or to now, or to its last sign of life."""
    if not status.get("started_at"):
        return "-"
    now = time.time() if status["state"] in ("running", "stopping") else status.get("updated_at", status["started_at"])
    return duration((status.get("finished_at") or now) - status["started_at"])


def _facts(run: Run, status: dict[str, Any]) -> dict[str, Any]:
    step = f"{status['step']} of {status.get('total_steps', '?')}" if "step" in status else None
    started = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(status["started_at"])) if status.get("started_at") else None
    facts = {
        "state": _ending(status),
        "process": f"{status.get('pid')} on {status.get('host')}" if run.is_live else None,
        "stage": " ".join(str(status[key]) for key in ("stage", "finetuning_type") if status.get(key)),
        "model": status.get("model_name_or_path"),
        "dataset": ", ".join(status.get("dataset") or []),
        "step": step,
        "epoch": status.get("epoch"),
        "loss": status.get("loss"),
        "eval loss": status.get("eval_loss"),
        "tokens/s": status.get("tokens_per_second"),
        "started": started,
        "took": _time(status) if started else None,
        "checkpoints": ", ".join(map(str, _steps(run))),
        "plot": shown_path(run.loss_plot) if run.loss_plot.is_file() else None,
        "log": shown_path(run.log_file) if run.log_file.is_file() else None,
    }
    return {label: value for label, value in facts.items() if value not in (None, "")}


def _steps(run: Run) -> list[int]:
    return sorted(int(folder.name.removeprefix("step-")) for folder in run.checkpoints())


def _ending(status: dict[str, Any]) -> str:
    """failed (the loss is nan ...)"""
    return f"{status.get('state')} ({status['reason']})" if status.get("reason") else str(status.get("state"))


def _log_text(run: Run, lines: int | None, follow: bool) -> Iterator[str]:
    """The log in pieces; with follow until the run has ended and nothing more comes."""
    while follow and not run.log_file.is_file() and run.is_live:
        time.sleep(POLL_S)
    if not run.log_file.is_file():
        return
    with run.log_file.open(encoding="utf-8", errors="replace") as file:
        text = file.read()
        yield "".join(text.splitlines(keepends=True)[-lines:] if lines else [] if lines == 0 else [text])
        while follow:
            is_live = run.is_live  # asked before reading: what was said last is not missed
            text = file.read()
            yield text
            if not is_live and not text:
                return
            time.sleep(POLL_S)
