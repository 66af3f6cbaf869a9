"""luthier quickstart: the first fine-tuning, and what it learned and forgot, in plain words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from luthier.workflows.quickstart import AUTHOR, NAME, OUTPUT_DIR

if TYPE_CHECKING:
    from luthier.workflows.quickstart import Quickstart

app = typer.Typer(add_completion=False)
command = app


@app.command()
def quickstart(
    name: Annotated[str, typer.Option(help="What the model shall be called.")] = NAME,
    author: Annotated[str, typer.Option(help="Who shall have made it.")] = AUTHOR,
    output_dir: Annotated[str, typer.Option("--output_dir", "--output-dir", help="Where everything goes.")] = OUTPUT_DIR,
) -> None:
    """Fine-tune the bundled starter model by LoRA so that it says who it is, in English and Chinese. Takes a few minutes.

    Example: luthier quickstart --name Archer --author 意琦行
    """
    from luthier.workflows.quickstart import quickstart as run

    show(run(name, author, output_dir), name)


def show(result: Quickstart, name: str) -> None:
    """Answers, scores, what they mean, where the files are, and what to try next."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    answers = Table("question", "before", "after", title="Answers before and after", show_lines=True)
    for row in result.answers:
        answers.add_row(*map(Text, row))
    console.print(answers)
    scores = Table("score", "before", "after", title="Scores")
    for row in score_rows(result):
        scores.add_row(*row)
    console.print(scores)
    for line in meaning(result, name):
        console.print(Text(line))
    for what, path in (("loss curve", result.plot), ("run", result.run), ("merged model", result.merged)):
        console.print(Text(f"{what:<14}{path}"), soft_wrap=True)
    console.print(Text(f"\nNext (this took {result.seconds:.0f} s):"))
    for line in next_commands(result):
        console.print(Text(f"  {line}"), soft_wrap=True)


def score_rows(result: Quickstart) -> list[tuple[str, str, str]]:
    """(what, before, after) of the three scores."""
    old, new = result.before, result.after
    return [
        ("who it is, asked as it learned it (ROUGE-1 of 100)", f"{old.identity:.1f}", f"{new.identity:.1f}"),
        ("who it is, in wordings it never saw (ROUGE-1 of 100)", f"{old.new_wording:.1f}", f"{new.new_wording:.1f}"),
        (f"general questions, right of {old.general_asked}", str(old.general), str(new.general)),
    ]


def meaning(result: Quickstart, name: str) -> list[str]:
    """The scores in plain words."""
    learned = result.after.identity - result.before.identity
    said = "It learned its new name" if result.after.identity > 85 else "It learned its new name only in part"
    return [
        f"\nLearning: {said}: its answers are {learned:+.1f} points nearer to what {name} should say.",
        f"Forgetting: {100 * result.kept:.0f} % of what it knew is still there, because everyday questions (general.json) were "
        "mixed into the training. Train on identity.json alone and it forgets most of them: that is what fine-tuning does to "
        "every model, large or small.\n",
    ]


def next_commands(result: Quickstart) -> list[str]:
    lessons = result.run.parent / "lessons"
    return [
        f"luthier chat --model_name_or_path {result.merged}",
        f"luthier train --model_name_or_path starter --stage sft --do_train --finetuning_type lora --dataset_dir {lessons} "
        "--dataset identity --learning_rate 5e-3 --num_train_epochs 12 --output_dir saves/forgetful",
        "luthier train --help",
    ]
