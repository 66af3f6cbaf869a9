"""`luthier train`: every stage, and predict where the configuration asks for it; in this shell or in the background.

What enters: the words after the verb. What leaves: a run folder, and an exit code (130 after Ctrl-C, saved or not).
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from luthier.cli.arguments import take_flags
from luthier.config import load_config
from luthier.config.sharding import as_launched
from luthier.errors import ConfigError
from luthier.runs import Run, shown_path
from luthier.runtime.crew import is_first, is_member

if TYPE_CHECKING:
    from luthier.config import Config

log = logging.getLogger(__name__)


def command(argv: list[str]) -> int:
    """luthier train CONFIG.yaml|CONFIG.json [key=value ...] [--key value ...] [--detach] [--json]

    Trains a model (stages pt, sft ...). Settings come from the file, then from the words after it; later ones win.
    Where several devices are seen, each gets a process (nproc_per_node says how many; torchrun and accelerate launch work too).
    `luthier config explain KEY` tells what a key means. With do_predict or do_eval and without do_train it answers the dataset
    or measures the loss on eval_dataset instead; with do_train it trains first.

      --detach   train in the background: the command returns at once and the run outlives the shell
      --ray      train on ray_num_workers workers that a Ray cluster starts (ray_init_kwargs says which cluster)
      --json     print the results as JSON at the end (or, with --detach, the folder and the process)

    Ctrl-C finishes the step, saves and ends; a second Ctrl-C ends at once. The same command goes on where a run was cut short.

    Examples:
      luthier train examples/lora_sft.yaml
      luthier train examples/lora_sft.yaml learning_rate=1e-4 --output_dir runs/second --detach
      luthier train --model_name_or_path starter --stage sft --do_train --dataset identity --output_dir runs/identity
    """
    words, flags = take_flags(argv, "--detach", "--json", "--ray")
    on_ray = "--ray" in flags or os.environ.get("USE_RAY", "").lower() in ("1", "true", "y")  # LLaMA-Factory's variable
    if not words:
        raise ConfigError("luthier train needs a configuration.", "Name a YAML file or give --key value; luthier train --help.")
    config = load_config(words)
    if not (config.do_train or config.do_eval or config.do_predict):  # "luthier train" says it already
        config = load_config([*words, "do_train=true"])
    if (launched := as_launched(os.environ)) and not (config.fsdp or config.fsdp_config or config.deepspeed):
        log.info("accelerate launch asks for %s.", next(iter(launched)))
        config = load_config([*words, "do_train=true"] if config.do_train else words, launched)
    if not on_ray and {"ray_num_workers", "ray_init_kwargs"} & config.model_fields_set:
        log.warning("ray_num_workers and ray_init_kwargs do nothing without --ray.")
    kind = "train" if config.do_train else "eval" if config.do_eval else "predict"
    if "--detach" in flags:
        if on_ray:
            raise ConfigError("--ray with --detach is not built.", "Start it in the background with: ray job submit, or nohup")
        return _detach(config, words, kind, as_json="--json" in flags)
    if kind != "train":
        return _score(config, as_json="--json" in flags) if is_first() else 0
    run = _train_on_ray(config) if on_ray and not is_member() else _train(config, words)
    if not is_first():
        return 0  # the first process says and does the rest
    status = run.status()
    if status["state"] == "finished" and config.do_predict and _score(trained(config, run), as_json=False):
        return 130
    _say_ending(config, run)
    if "--json" in flags:
        print(json.dumps({"folder": str(run.folder), "state": status["state"], **run.read_results()}, ensure_ascii=False))
    if status["state"] == "stopped" and not run.stop_requested():
        return 130  # by a signal, not by `luthier runs stop`
    return 0


def _train(config: Config, words: list[str]) -> Run:
    from luthier.workflows.train import train

    return train(config, again=[sys.executable, "-m", "luthier.cli.member", "train", *words])


def _train_on_ray(config: Config) -> Run:
    from luthier.workflows.on_ray import train_on_ray

    return train_on_ray(config)


def trained(config: Config, run: Run) -> Config:
    """The configuration that answers with what run has trained: its adapter on the same base, or its model."""
    changes: dict[str, object] = {
        "output_dir": str(run.folder), "overwrite_output_dir": True, "resume_from_checkpoint": None, "do_eval": False,
    }  # fmt: skip
    if config.finetuning_type in ("lora", "oft"):
        before = config.adapter_name_or_path or []
        kept = before if config.create_new_adapter else before[:-1]  # else the last one was trained further
        changes["adapter_name_or_path"] = [*kept, str(run.folder)]
    else:
        changes["model_name_or_path"] = str(run.folder)
    return config.model_copy(update=changes)


def _say_ending(config: Config, run: Run) -> None:
    """Where the run ended, and what a person is likely to do next."""
    status, folder = run.status(), shown_path(run.folder)
    step = f"step {status.get('step', 0)} of {status.get('total_steps', '?')}"
    if status["state"] == "stopped":
        log.info("Stopped at %s, saved in %s. Go on with: luthier runs resume %s", step, folder, folder)
        return
    key = "adapter_name_or_path" if config.finetuning_type in ("lora", "oft") else "model_name_or_path"
    data = " ".join(config.eval_dataset or config.dataset or [])
    nexts = {"talk to it": "chat", "score it": f"predict --dataset {data}", "merge it": f"export --export_dir {folder}/merged"}
    if config.stage == "rm":  # it gives scores, not words
        nexts = {"score by it": "serve"}
    elif key == "model_name_or_path":
        del nexts["merge it"]
    log.info("%s at %s: %s", str(status["state"]).capitalize(), step, folder)
    for what, words in nexts.items():
        verb, _, rest = words.partition(" ")
        log.info("  %-14sluthier %s --%s %s%s", what, verb, key, folder, f" {rest}" if rest else "")


def _score(config: Config, as_json: bool) -> int:
    """Evaluate and predict, as far as asked for, without training."""
    figures: dict[str, object] = {}
    if config.do_eval:
        from luthier.workflows.evaluate import evaluate

        figures |= evaluate(config)
    if config.do_predict:
        from luthier.workflows.predict import predict

        answers = predict(config)
        if not answers:
            return 130  # it was stopped
        figures |= answers
    if as_json:
        print(json.dumps(figures, ensure_ascii=False))
    return 0


def _detach(config: Config, words: list[str], kind: str, as_json: bool) -> int:
    """Start this command again, in a session of its own, with its output going to the run's log."""

    def start(run: Run) -> int:
        argv = [sys.executable, "-m", "luthier", "train", *words, f"output_dir={run.folder}"]
        with run.log_file.open("ab") as output:
            process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True, cwd=Path.cwd()
            )
        return process.pid

    if kind != "train" and not config.output_dir:
        from luthier.workflows.folders import output_folder

        config = config.model_copy(update={"output_dir": output_folder(config, kind)})
    run = Run.announce(config, kind, start)
    folder, pid = shown_path(run.folder), run.status()["pid"]
    if as_json:
        print(json.dumps({"folder": str(run.folder), "pid": pid}))
        return 0
    print(f"Started in the background (process {pid}): {folder}\n")
    for what, verb in (("follow it", "logs -f"), ("where it stands", "show"), ("stop and save", "stop")):
        print(f"  {what:<16}luthier runs {verb} {folder}")
    return 0
