"""One process a device: this process is the first of them, starts the others and sees to it that they end together.

What enters: how many, and the command that makes another process do the same. What leaves: an environment as torchrun would
have given it (rank, world size, meeting point), and, where one of the others dies, what it died of. Arguments are passed as a
list: spaces and quotes in them survive. Never restarts anything: the last checkpoint is gone on from by the same command.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from luthier.errors import ConfigError

if TYPE_CHECKING:
    from luthier.config import Config

log = logging.getLogger(__name__)

GRACE_S = 15.0
"""After one process has died: how long this one may take to notice. GPUs may wait for a dead partner for half an hour."""
LAST_LINES = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """How many processes there are and where they meet. address, port: of machine 0; only needed with several machines."""

    per_machine: int = 1
    machines: int = 1
    machine: int = 0
    address: str = "127.0.0.1"
    port: int = 0


def is_member() -> bool:
    """Whether a launcher (torchrun, accelerate launch, Ray, or a Crew) has started this process as one of several."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def is_first() -> bool:
    """Whether this process speaks for all of a training: rank 0, or the only one."""
    return os.environ.get("RANK", "0") == "0"


def places(config: Config) -> Places:
    """One process for each device that is seen, unless nproc_per_node says otherwise. The variables that torchrun's users set
    (NPROC_PER_NODE, NNODES, NODE_RANK, MASTER_ADDR, MASTER_PORT) count where the keys are unset. Raises ConfigError for more
    processes than devices, and for several machines that know no meeting point."""
    import torch

    accelerator = None if config.use_cpu else torch.accelerator.current_accelerator(check_available=True)
    devices = torch.accelerator.device_count() if accelerator is not None else 0
    wanted = config.nproc_per_node or _number("NPROC_PER_NODE") or max(1, devices)
    if devices and wanted > devices:
        raise ConfigError(
            f"nproc_per_node is {wanted}, but {devices} devices are seen.", "Lower it, or check CUDA_VISIBLE_DEVICES."
        )
    machines = config.nnodes or _number("NNODES") or 1
    machine = config.node_rank if config.node_rank is not None else _number("NODE_RANK") or 0
    address = config.master_addr or os.environ.get("MASTER_ADDR", "")
    port = int(config.master_port or _number("MASTER_PORT") or (29500 if machines > 1 else 0))
    if machine >= machines:
        raise ConfigError(f"node_rank is {machine}, but there are {machines} machines (nnodes).", "Machines count from 0.")
    if machines > 1 and not address:
        raise ConfigError(f"nnodes is {machines}, but no machine is named to meet at.", "master_addr: the address of machine 0")
    return Places(
        per_machine=wanted, machines=machines, machine=machine, address=address if machines > 1 else "127.0.0.1", port=port
    )


def _number(name: str) -> int | None:
    text = os.environ.get(name, "")
    if text and not text.isdigit():
        raise ConfigError(f"the environment variable {name} is {text}, which is no number.", f"unset {name}")
    return int(text) if text else None


class Crew:
    """with Crew(places, command): the others run `command`, each with its rank in its environment, until the block ends.

    last_words(reason): called right before this process is ended because it hangs on a dead partner.
    """

    def __init__(self, places: Places, command: Sequence[str]):
        self.size = places.per_machine * places.machines
        self.last_words: Callable[[str], None] = lambda reason: None
        self._places, self._command = places, list(command)
        self._members: dict[int, subprocess.Popen[bytes]] = {}
        self._over = threading.Event()

    def __enter__(self) -> Crew:
        import torch
        from torch.distributed import TCPStore

        where, self._before = self._places, dict(os.environ)
        self._store: Any = None
        port = where.port
        if where.machine == 0:  # the meeting point is open before anyone is told of it: no port is lost to another program
            self._store = TCPStore(where.address, port, is_master=True, wait_for_workers=False)
            port = self._store.port
        threads = max(1, torch.get_num_threads() // where.per_machine)
        torch.set_num_threads(threads)
        shared = {
            "WORLD_SIZE": str(self.size),
            "LOCAL_WORLD_SIZE": str(where.per_machine),
            "GROUP_RANK": str(where.machine),
            "MASTER_ADDR": where.address,
            "MASTER_PORT": str(port),
            "TORCHELASTIC_USE_AGENT_STORE": "True",  # torch's word for: connect to that store, make none
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads)),
        }
        self._folder = tempfile.TemporaryDirectory(prefix="luthier-crew-")
        for local in range(1, where.per_machine):
            self._members[local] = self._start(local, os.environ | shared | self._rank(local))
        os.environ.update(shared | self._rank(0))
        threading.Thread(target=self._watch, name="crew", daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        """The others end as this one does: by themselves where it went well, now where it did not."""
        self._over.set()
        deadline = time.monotonic() + (60.0 if error is None else 0.0)
        for member in self._members.values():
            try:
                member.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                member.kill()
                member.wait()
        for name in set(os.environ) - set(self._before):
            del os.environ[name]
        os.environ.update(self._before)
        self._store = None
        self._folder.cleanup()

    def casualty(self, wait_s: float = 0.0) -> str | None:
        """The first of the others found dead of something, in words; None where all are well.

        wait_s: a lost connection is noticed before the process behind it is gone; wait so long for that.
        """
        deadline = time.monotonic() + wait_s
        while True:
            for local, member in self._members.items():
                if member.poll():
                    return self._obituary(local, member.returncode)
            if time.monotonic() >= deadline:
                return None
            time.sleep(0.05)

    def _rank(self, local: int) -> Mapping[str, str]:
        return {"RANK": str(self._places.machine * self._places.per_machine + local), "LOCAL_RANK": str(local)}

    def _start(self, local: int, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Its stdin is a pipe whose other end dies with this process: that is how it learns of our death."""
        with self._output(local).open("wb") as output:
            return subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT, env=dict(environment)
            )

    def _output(self, local: int) -> Path:
        return Path(self._folder.name) / f"{local}.txt"

    def _obituary(self, local: int, code: int) -> str:
        rank = self._rank(local)["RANK"]
        if code < 0:
            name = signal.Signals(-code).name
            why = f"was killed by {name}" + (" (the system does that where memory runs out)" if name == "SIGKILL" else "")
        else:
            why = f"ended with exit code {code}"
        said = self._output(local).read_text(encoding="utf-8", errors="replace").strip().splitlines()[-LAST_LINES:]
        heard = "" if code < 0 or not said else ":\n    " + "\n    ".join(said)
        return f"process {rank} of {self.size} of this training {why}{heard}"

    def _watch(self) -> None:
        """Where a partner has died and this process does not notice (it waits inside a library), end it after GRACE_S."""
        while not self._over.wait(0.2):
            if (reason := self.casualty()) is None:
                continue
            if self._over.wait(GRACE_S):
                return
            log.error("%s.", reason)
            self.last_words(reason)
            for member in self._members.values():
                member.kill()
            os._exit(1)
