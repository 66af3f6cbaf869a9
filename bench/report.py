"""Tables in Markdown: printed, and written to bench/results/."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table; the first column to the left, the others to the right."""
    lines = [list(header), ["---", *["---:"] * (len(header) - 1)], *[[str(cell) for cell in row] for row in rows]]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def write_report(folder: Path, name: str, title: str, sections: Sequence[str], command: str) -> Path:
    """Print the report and keep it as folder/name.md."""
    text = "\n\n".join([f"# {title}", *sections, f"Made by `{command}`."]) + "\n"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.md"
    path.write_text(text, encoding="utf-8")
    print(text)
    return path


def verdict(value: float, goal: float, *, at_least: bool) -> str:
    """`2.31 (goal at least 2: met)`."""
    met = value >= goal if at_least else value <= goal
    return f"{value:.2f} (goal {'at least' if at_least else 'at most'} {goal:g}: {'met' if met else 'NOT met'})"
