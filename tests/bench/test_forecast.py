"""The forecast of memory beside real trainings: one of each method, each in its own process, libraries left out."""

import subprocess
import sys

import pytest
from bench.material import REPOSITORY


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read in /proc")
@pytest.mark.parametrize("method", ["full", "freeze", "lora", "qlora"])
def test_the_forecast_is_within_fifteen_percent_of_what_a_training_takes(method, assets, tmp_path):
    if method == "qlora":
        pytest.importorskip("bitsandbytes")
    cell = ["--methods", method, "--lengths", "short", "--vocabularies", "small", "--checkpointing", "off", "--threads", "1"]
    cell += ["--repeats", "3"]  # the same training takes 40 MiB more or less from one run to the next
    places = ["--assets", str(assets), "--work", str(tmp_path), "--results", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "bench.forecast", *cell, *places], capture_output=True, text=True, cwd=REPOSITORY
    )
    assert done.returncode == 0, done.stdout + done.stderr
