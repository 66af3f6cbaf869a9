"""Make the peer's environment: LLaMA-Factory 0.9.5 in .bench-venv, with the same torch as ours.

    python -m bench.setup_peer

Enters: constraints.txt (for the torch version) and bench/peer/requirements.txt. Leaves: .bench-venv in the repository.
LLaMA-Factory imports torchaudio on its text path; where it is not installed an empty module of that name stands in for it, and
nothing else of the peer is touched.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import venv
from pathlib import Path

from bench.material import REPOSITORY
from bench.sides import PEER, PEER_PYTHON, PEER_VENV

PEER_VERSION = "0.9.5"
STAND_IN = '"""Empty: LLaMA-Factory imports torchaudio also where no audio is used; it is not installed here."""\n'


def torch_pin(constraints: Path) -> str:
    """The line of constraints.txt that pins torch."""
    lines = constraints.read_text(encoding="utf-8").splitlines() if constraints.is_file() else []
    pins = [line.strip() for line in lines if line.startswith("torch==")]
    if not pins:
        raise SystemExit(f"{constraints} pins no torch: add a line torch==VERSION, so that both sides have the same.")
    return pins[0]


def make(constraints: Path) -> None:
    if not PEER_PYTHON.exists():
        venv.create(PEER_VENV, with_pip=True)
    requirements = REPOSITORY / "bench" / "peer" / "requirements.txt"
    _pip("install", "-q", torch_pin(constraints), "-r", requirements)
    _pip("install", "-q", "--no-deps", f"llamafactory=={PEER_VERSION}")
    where = "import importlib.util as u, sysconfig; print(u.find_spec('torchaudio') is None, sysconfig.get_path('purelib'))"
    missing, site_packages = subprocess.check_output([PEER_PYTHON, "-c", where], text=True).split()
    if missing == "True":
        (Path(site_packages) / "torchaudio.py").write_text(STAND_IN, encoding="utf-8")
    subprocess.run([PEER, "version"], check=True)


def _pip(*arguments: str | Path) -> None:
    subprocess.run([PEER_PYTHON, "-m", "pip", *arguments], check=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.setup_peer", description=__doc__.splitlines()[0])
    parser.add_argument("--constraints", type=Path, default=REPOSITORY / "constraints.txt", help="(default: %(default)s)")
    sys.exit(make(parser.parse_args().constraints))
