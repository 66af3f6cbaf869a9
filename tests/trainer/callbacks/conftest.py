"""A run and a progress that a callback may look at."""

from pathlib import Path

import pytest

from luthier.config import Config
from luthier.runs import Run
from luthier.trainer.callbacks import Progress


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(
        output_dir=str(tmp_path / "run"),
        model_name_or_path="Qwen/Qwen3-8B",
        dataset=["identity"],
        learning_rate=5e-4,
        stage="sft",
    )


@pytest.fixture
def run(config: Config) -> Run:
    run = Run.create(config)
    run.start()
    return run


@pytest.fixture
def progress() -> Progress:
    return Progress(step=40, total_steps=100, epoch=1.2, num_epochs=3.0, tokens_seen=12345)


@pytest.fixture
def curve(run: Run) -> list[dict]:
    """Forty log points that fall and settle, an evaluation every ten."""
    for step in range(1, 41):
        run.append_metrics({"step": step, "loss": 1 + 2 / step, "learning_rate": 5e-4})
        if step % 10 == 0:
            run.append_metrics({"step": step, "eval_loss": 1.2 + 1 / step})
    return run.read_metrics()
