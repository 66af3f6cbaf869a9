"""The loss and perplexity of a model on held-out data, or the reward of its answers to it, without training it.

eval_dataset or val_size -> samples -> ids + labels -> stage loss -> eval_results.json, all_results.json
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from luthier.batches.loader import EvaluationLoader
from luthier.batches.store import EncodedStore, EncodedSubset
from luthier.config import Config
from luthier.errors import ConfigError
from luthier.models.load import load_config_of_model, load_model
from luthier.models.score import Scorer
from luthier.runs import Run, shown_path
from luthier.runtime.device import memory, pick_device
from luthier.runtime.logging import log_to_file
from luthier.runtime.precision import training_precision
from luthier.runtime.progress import progress_bars
from luthier.runtime.seeds import set_seed
from luthier.stages import STAGES
from luthier.trainer import evaluation
from luthier.trainer.compute import Compute
from luthier.trainer.parallel import Parallel
from luthier.workflows.answering import load_words, settle
from luthier.workflows.encode import encode_dataset
from luthier.workflows.equip import make_adapter, set_reference
from luthier.workflows.folders import output_folder
from luthier.workflows.respond import Respondent
from luthier.workflows.rewarding import Rewards, load_reward_model
from luthier.workflows.train import datasets, evaluation_sets

if TYPE_CHECKING:
    from torch import nn

    from luthier.runtime.device import Device

log = logging.getLogger(__name__)


def evaluate(config: Config) -> dict[str, Any]:
    """The figures of eval_results.json. Raises LuthierError for whatever the user can mend, before the model is loaded where it
    can be known by then."""
    config = settle(config)
    config = config.model_copy(update={"output_dir": output_folder(config, "eval")})
    device = pick_device(config)
    parallel = Parallel(device.torch, config.ddp_timeout, backend=config.ddp_backend)
    try:
        run = Run.create(config, kind="eval") if parallel.is_main else None
        folder = parallel.same_everywhere(str(run.folder) if run else None)
        with run or nullcontext(), log_to_file(run.log_file) if run else nullcontext():
            metrics = _evaluate(config, run or Run(Path(str(folder)), "eval"), device, parallel)
    finally:
        parallel.close()
    return metrics


def _evaluate(config: Config, run: Run, device: Device, parallel: Parallel) -> dict[str, Any]:
    set_seed(config.seed)
    tokenizer, template = load_words(config)
    stage = STAGES[config.stage](config)
    model_config = load_config_of_model(config)
    precision = training_precision(config, device, getattr(model_config, "dtype", None))
    if precision.note:
        log.warning("%s", precision.note)

    def encode(names: list[str] | None, part: str = "train") -> EncodedStore:
        return encode_dataset(config, names, stage, template, tokenizer, part=part)

    if not parallel.is_main:
        parallel.barrier()  # rank 0 fills the token cache, the others read it
    rewards = Rewards(config)  # what is missing is said before anything is loaded
    stores = held_out(config, encode)
    if parallel.is_main:
        parallel.barrier()

    net: nn.Module = load_model(config, device=device.torch, dtype=precision.param_dtype)
    adapter = make_adapter(config, stage)
    if config.adapter_name_or_path or stage.needs_head:
        net = adapter.attach(net, trainable=False)
    scorer = Scorer(net)
    loaders = {name: EvaluationLoader(store) for name, store in stores.items()}
    if stage.goal == "reward":
        rewards.model = load_reward_model(config, tokenizer.decode, device=device.torch, precision=precision)
        respond = Respondent(config, net=net, tokenizer=tokenizer, template=template, rewards=rewards, precision=precision)
        loaders = respond.examine(stores)
    else:
        set_reference(config, stage, scorer, adapter, net, device=device.torch, precision=precision)
    if parallel.is_main:
        run.start()
    samples = sum(map(len, stores.values()))
    log.info("scoring %d samples with %s", samples, _name(config))
    budget = config.micro_batch_tokens or _tokens_at_once(model_config, memory(device)[0])
    with progress_bars(config.disable_tqdm or not parallel.is_main) as bars:
        opened: list[Any] = []
        metrics: dict[str, Any] = evaluation.evaluate(
            Compute(stage, scorer),
            loaders,
            parallel=parallel,
            precision=precision,
            max_tokens=budget,
            with_accuracy=config.compute_accuracy or stage.unit == "sample",
            on_begin=lambda batches: opened.append(bars.add("evaluate", batches)),
            on_batch=lambda done: opened[0].update(done),
        )
        opened[0].close()
    if stage.unit == "token" and stage.goal == "loss":
        metrics["eval_perplexity"] = evaluation.perplexity(metrics["eval_loss"])
    metrics["eval_samples"] = samples
    metrics["eval_samples_per_second"] = round(samples / max(metrics["eval_runtime"], 1e-9), 3)
    if parallel.is_main:
        run.write_results("eval", metrics)
        run.update_status(state="finished")
        figures = {name: value for name, value in metrics.items() if name not in ("eval_runtime", "eval_samples_per_second")}
        log.info("%s", "   ".join(f"{name} {value:.4f}" for name, value in figures.items() if isinstance(value, float)))
        log.info("%d samples in %.1f s: %s", samples, metrics["eval_runtime"], shown_path(run.folder))
    return metrics


def held_out(config: Config, encode: Callable[..., EncodedStore]) -> dict[str, EncodedStore | EncodedSubset]:
    """The evaluation sets by name: the same samples that a training with this configuration would hold out."""
    if config.eval_dataset:
        return evaluation_sets(config, encode)
    if config.val_size:
        return datasets(config, encode)[1]
    raise ConfigError("do_eval has no data.", "Name it (eval_dataset), or set samples of dataset aside (val_size: 0.1).")


def _tokens_at_once(model_config: Any, free_bytes: int) -> int:
    """How many tokens a forward pass without gradients may hold in a quarter of the free memory: the states of one layer,
    its feed-forward in between, attention's queries, keys and values."""
    text = model_config.get_text_config()
    width = 12 * text.hidden_size + 3 * (getattr(text, "intermediate_size", None) or 4 * text.hidden_size)
    return max(512, min(16_384, free_bytes // 4 // (4 * width)))


def _name(config: Config) -> str:
    return " + ".join(map(str, [config.model_name_or_path, *(config.adapter_name_or_path or [])]))
