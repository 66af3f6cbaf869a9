"""`luthier train --ray`: the same training, its processes started by a Ray cluster, one for each worker.

Enters: a config. Leaves: the run that worker 0 wrote (output_dir must be seen by all machines). Never: changes what is trained;
each worker does what a process of torchrun does.
"""

from __future__ import annotations

import json
import logging
import os
import socket
from typing import TYPE_CHECKING, Any

from luthier.config import Config
from luthier.errors import ConfigError, LuthierError, TrainingError
from luthier.runs import Run
from luthier.workflows.folders import output_folder

if TYPE_CHECKING:
    from collections.abc import Mapping

log = logging.getLogger(__name__)


class Worker:
    """One process of the training, on whichever machine Ray has put it; an actor of Ray's."""

    def meeting_point(self) -> tuple[str, int]:
        """Address of this machine and a port that is free on it."""
        import ray

        with socket.socket() as probe:
            probe.bind(("", 0))
            return ray.util.get_node_ip_address(), probe.getsockname()[1]

    def train(self, config: Config, environment: Mapping[str, str]) -> str:
        """Train as rank environment["RANK"]; returns the run folder."""
        os.environ.update(environment)
        from luthier.runtime.crew import is_first
        from luthier.runtime.logging import setup_logging
        from luthier.workflows.train import train

        setup_logging("INFO" if is_first() else "ERROR")
        return str(train(config).folder)


def train_on_ray(config: Config) -> Run:
    """Train on ray_num_workers workers. Raises ConfigError where Ray is missing or has too few devices, and TrainingError where
    a worker is lost."""
    try:
        import ray
    except ImportError as error:
        raise ConfigError("--ray needs Ray, which is not installed.", "pip install 'luthier[ray]'") from error

    folder = output_folder(config, "train")
    config = config.model_copy(update={"output_dir": str(folder)})
    if not ray.is_initialized():
        ray.init(**({"log_to_driver": True} | _options(config)))
    count, there = config.ray_num_workers, ray.cluster_resources()
    gpu = 0 if config.use_cpu or not there.get("GPU") else 1  # of the cluster: the machine that asks may have none
    for kind, wanted in (("GPU", gpu * count), ("CPU", count)):
        if there.get(kind, 0) < wanted:
            raise ConfigError(
                f"ray_num_workers: {count} workers need {wanted} {kind}s, and the Ray cluster has {there.get(kind, 0):g}.",
                "Lower ray_num_workers, or add machines to the cluster.",
            )
    log.info("Ray starts %d workers%s", count, ", one GPU each" if gpu else "")
    actor = ray.remote(num_cpus=1, num_gpus=gpu)(Worker)
    workers = [actor.remote() for _ in range(count)]
    try:
        address, port = ray.get(workers[0].meeting_point.remote())
        shared = {
            "WORLD_SIZE": str(count),
            "LOCAL_RANK": "0",  # Ray shows each worker its own device alone
            "MASTER_ADDR": config.master_addr or address,
            "MASTER_PORT": str(config.master_port or port),
        }
        jobs = [worker.train.remote(config, shared | {"RANK": str(rank)}) for rank, worker in enumerate(workers)]
        _wait(jobs, Run(folder))
    finally:
        for worker in workers:
            ray.kill(worker)
    return Run.open(folder)


def _wait(jobs: list[Any], run: Run) -> None:
    """Until all are done; the first that fails ends the wait. Ctrl-C asks them to finish their step and save."""
    import ray

    asked = False
    while jobs:
        try:
            done, jobs = ray.wait(jobs, num_returns=1)
            ray.get(done)
        except KeyboardInterrupt:
            if asked:
                raise
            asked = True
            run.request_stop("interrupted")
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, LuthierError):
                raise error.cause from None
            raise
        except ray.exceptions.RayActorError as error:
            reason = "a worker of this training has ended or cannot be reached"
            if run.status_file.is_file() and run.status().get("state") not in ("finished", "failed", "stopped"):
                run.update_status(state="failed", reason=reason)
            remedy = "What was saved is good: the same command goes on from the last checkpoint."
            raise TrainingError(f"{reason}: {str(error).splitlines()[0]}", remedy) from error


def _options(config: Config) -> dict[str, Any]:
    """ray_init_kwargs as a mapping."""
    options = config.ray_init_kwargs or {}
    if isinstance(options, str):
        try:
            options = json.loads(options)
        except ValueError as error:
            raise ConfigError(f"ray_init_kwargs is no JSON: {error}") from None
    if not isinstance(options, dict):
        raise ConfigError("ray_init_kwargs must be a mapping.", '{"address": "auto"}')
    return dict(options)
