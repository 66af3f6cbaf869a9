"""Events, read back by TensorBoard's own reader."""

from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from luthier.trainer.callbacks import Progress
from luthier.trainer.callbacks.tensorboard import TensorBoard


def write(config, run, steps: range, start: int = 0) -> None:
    board = TensorBoard(config, run)
    board.on_train_begin(Progress(step=start))
    for step in steps:
        row = {"step": step, "epoch": 0.1, "loss": 1.0 / step, "learning_rate": 1e-4, "rewards/margins": 0.5, "note": "text"}
        board.on_log(Progress(step=step), row)
    board.on_log(Progress(step=steps[-1]), {"step": steps[-1], "eval_loss": 2.0, "loss": None})
    board.on_train_end(Progress(), {})


def read(folder: Path) -> EventAccumulator:
    events = EventAccumulator(str(folder))
    events.Reload()
    return events


def test_scalars(config, run) -> None:
    write(config, run, range(1, 4))
    events = read(run.tensorboard_folder)
    assert set(events.Tags()["scalars"]) == {"train/loss", "train/learning_rate", "train/rewards/margins", "eval/loss"}
    assert [(event.step, round(event.value, 4)) for event in events.Scalars("train/loss")] == [(1, 1.0), (2, 0.5), (3, 0.3333)]
    assert [event.step for event in events.Scalars("eval/loss")] == [3]


def test_what_a_killed_run_wrote_after_the_checkpoint_is_forgotten(config, run) -> None:
    write(config, run, range(1, 9))
    write(config, run, range(6, 8), start=5)
    steps = [event.step for event in read(run.tensorboard_folder).Scalars("train/loss")]
    assert steps == [1, 2, 3, 4, 5, 6, 7]


def test_logging_dir(config, run, tmp_path: Path) -> None:
    write(config.model_copy(update={"logging_dir": str(tmp_path / "events")}), run, range(1, 3))
    assert read(tmp_path / "events").Tags()["scalars"] and not run.tensorboard_folder.exists()


def test_no_rows_no_file(config, run) -> None:
    board = TensorBoard(config, run)
    board.on_train_begin(Progress())
    board.on_train_end(Progress(), {})
    assert not run.tensorboard_folder.exists()
