"""The rows as ids and labels: by Luthier and by LLaMA-Factory, each in a process of its own.

    python -m bench.encode bench/sft.yaml model_name_or_path=M dataset_dir=D --out FILE

is Luthier's side, and prints one JSON line as bench/peer/encode.py does for the other: rows, tokens, supervised, and seconds
(and CPU seconds of all processes) from the call to the data being ready to train on (imports not counted); and data_s, the
seconds of it without loading the tokenizer and its template.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

from bench.sides import PEER_PYTHON, RECIPE, environment
from bench.tokens import TokenRow, read_tokens, write_tokens


def encode(side: str, model: Path, data: Path, dataset: str, folder: Path, threads: int) -> list[TokenRow]:
    """What a training of bench/sft.yaml learns from on side "luthier" or "peer"; kept as folder/side-dataset.jsonl."""
    out = folder / f"{side}-{dataset}.jsonl"
    run_encode(side, model, data, dataset, folder, threads, out=out)
    return read_tokens(out)


def run_encode(
    side: str, model: Path, data: Path, dataset: str, folder: Path, threads: int, *extra: str, out: Path | None = None
) -> dict[str, float]:
    """One run of a side's encode: its counts and its seconds. extra: more key=value. SystemExit where it fails."""
    folder.mkdir(parents=True, exist_ok=True)
    command = encode_command(side, model, data, dataset, folder, *extra)
    env = environment(threads, folder / "caches" / side)
    done = subprocess.run(
        [*command, *(["--out", str(out)] if out else [])], env=env, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{side} could not encode {data / dataset}:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def encode_command(side: str, model: Path, data: Path, dataset: str, folder: Path, *extra: str) -> list[str]:
    if side == "peer" and not PEER_PYTHON.exists():
        raise SystemExit("the peer is not installed: run python -m bench.setup_peer")
    python, module = (PEER_PYTHON, "bench.peer.encode") if side == "peer" else (sys.executable, "bench.encode")
    pairs = (f"model_name_or_path={model}", f"dataset_dir={data}", f"dataset={dataset}", f"output_dir={folder / side}", *extra)
    return [str(python), "-m", module, str(RECIPE), *pairs]


def cpu_seconds() -> float:
    """Of this process and of those it has waited for."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.encode", description=__doc__.splitlines()[0])
    parser.add_argument("settings", nargs="+", help="a recipe and key=value pairs")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()

    from transformers import AutoTokenizer  # noqa: F401  Luthier imports it when it first needs it; not part of the time

    from luthier.config import load_config
    from luthier.models.tokenizer import load_tokenizer
    from luthier.stages import STAGES
    from luthier.templates import find_template
    from luthier.workflows.encode import encode_dataset

    config = load_config(options.settings)
    start, cpu_start = time.perf_counter(), cpu_seconds()
    tokenizer = load_tokenizer(config)
    template = find_template(config, tokenizer)
    data_start = time.perf_counter()
    store = encode_dataset(config, None, STAGES[config.stage](config), template, tokenizer)
    data_s = time.perf_counter() - data_start
    seconds, cpu_s = time.perf_counter() - start, cpu_seconds() - cpu_start
    if options.out:
        segments = (segment for sample in range(len(store)) for segment in store.segments(sample))
        write_tokens(options.out, [TokenRow(input_ids=s.input_ids.tolist(), labels=s.labels.tolist()) for s in segments])
    counts = {"rows": len(store), "tokens": int(store.lengths.sum()), "supervised": int(store.supervised.sum())}
    print(json.dumps({**counts, "seconds": seconds, "cpu_s": cpu_s, "data_s": data_s}))


if __name__ == "__main__":
    main()
