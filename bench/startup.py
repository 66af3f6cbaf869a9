"""Start-up: `luthier --help` against `llamafactory-cli version`, in turns, files warm.

    python -m bench.startup --rounds 7

Leaves: bench/results/startup.md with the median times and their ratio.
"""

from __future__ import annotations

import argparse
from statistics import median

from bench.machine import busy, describe
from bench.material import add_material_options, alone_in
from bench.report import bullets, table, verdict, write_report
from bench.sides import LUTHIER, PEER, PEER_PYTHON, environment
from bench.watch import watch

GOAL = 0.15
COMMANDS = {
    "luthier --help": (LUTHIER, "--help"),
    "luthier version": (LUTHIER, "version"),
    "llamafactory-cli version": (PEER, "version"),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.startup", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7, help="timed starts of each side, after one that is not counted")
    add_material_options(parser)
    options = parser.parse_args()
    with alone_in(options.work):
        measure(options)


def measure(options: argparse.Namespace) -> None:
    load = busy()
    env = environment(threads=1, caches=options.work / "startup")
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for turn in range(options.rounds + 1):
        for name, command in COMMANDS.items():
            took = watch(command, output=options.work / "startup" / "output.txt", env=env).wall_s
            if turn:
                seconds[name].append(took)
    *our_names, peer_name = COMMANDS
    ratios = {name: median(a / b for a, b in zip(seconds[name], seconds[peer_name])) for name in our_names}
    rows = [(name, f"{median(all_s):.2f}", f"{min(all_s):.2f}", f"{max(all_s):.2f}") for name, all_s in seconds.items()]
    write_report(
        options.results,
        "startup",
        "Start-up",
        [
            bullets(describe(1, load, PEER_PYTHON)),
            table(("command", "median s", "min s", "max s"), rows),
            bullets([f"{name} / {peer_name}: {verdict(ratio, GOAL, at_least=False)}" for name, ratio in ratios.items()]),
        ],
        f"python -m bench.startup --rounds {options.rounds}",
    )


if __name__ == "__main__":
    main()
