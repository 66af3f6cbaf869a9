"""Dataset file -> rows -> samples -> ids + labels -> batches -> stage loss -> checkpoint."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from luthier.batches.loader import EvaluationLoader, Loader
from luthier.batches.pack import pack
from luthier.batches.rollouts import RolloutLoader
from luthier.batches.store import EncodedStore
from luthier.batches.stream import StreamLoader
from luthier.batches.views import Tokens
from luthier.config import Config
from luthier.config.sharding import sharding_of
from luthier.datasets import check_datasets
from luthier.errors import ConfigError
from luthier.hub import resolve_model
from luthier.models.compiled import compile_layers, require_compiler
from luthier.models.load import load_config_of_model, load_model
from luthier.models.quantize import check_bits
from luthier.models.score import Scorer
from luthier.models.tokenizer import load_tokenizer
from luthier.models.weights import weight_bytes
from luthier.runs import Run
from luthier.runtime.crew import Crew, Places, is_member, places
from luthier.runtime.device import memory, pick_device
from luthier.runtime.logging import log_to_file
from luthier.runtime.precision import choose_tf32, training_precision
from luthier.runtime.quiet import quiet_transformers
from luthier.runtime.seeds import set_seed
from luthier.stages import STAGES
from luthier.templates import find_template
from luthier.trainer.callbacks import make_callbacks
from luthier.trainer.checkpoint import newest
from luthier.trainer.loop import Trainer
from luthier.trainer.parallel import Parallel
from luthier.trainer.signals import StopSignals
from luthier.workflows.announce import announce, list_parameters, show_first_sample
from luthier.workflows.encode import encode_dataset
from luthier.workflows.equip import as_learned, balanced, cache_reference, make_adapter, set_reference
from luthier.workflows.keep import save_final, saver
from luthier.workflows.online import PLAYERS
from luthier.workflows.plan import plan_training
from luthier.workflows.respond import Questions, Respondent
from luthier.workflows.rewarding import Rewards, load_reward_model
from luthier.workflows.stream import Stream, open_stream

if TYPE_CHECKING:
    from luthier.runtime.device import Device

logger = logging.getLogger(__name__)

NUMBERS = (
    "stage", "finetuning_type", "learning_rate", "lr_scheduler_type", "lr_scheduler_kwargs", "warmup_ratio",
    "warmup_steps", "weight_decay", "optim", "optim_args", "use_galore",
    "galore_target", "galore_rank", "galore_update_interval", "galore_scale", "galore_proj_type", "use_apollo", "use_badam",
    "apollo_rank", "apollo_scale", "badam_switch_mode", "badam_switch_interval", "badam_start_block", "use_muon",
    "use_adam_mini", "optim_target_modules", "apollo_target", "apollo_proj", "apollo_proj_type", "apollo_scale_type",
    "apollo_scale_front", "apollo_update_interval", "badam_mode", "badam_update_ratio", "badam_mask_mode",
    "adam_beta1", "adam_beta2", "adam_epsilon",
    "max_grad_norm", "seed", "data_seed", "disable_shuffling", "lora_rank", "lora_alpha", "lora_dropout",
    "lora_target", "oft_rank", "oft_block_size", "rope_scaling", "add_tokens", "add_special_tokens",
    "use_llama_pro", "use_rslora", "use_dora",
    "pissa_init", "loraplus_lr_ratio", "freeze_trainable_layers",
    "freeze_trainable_modules", "neftune_noise_alpha", "label_smoothing_factor", "val_size",
    "quantization_bit", "quantization_method", "quantization_type", "double_quantization",
    "reward_model", "reward_model_adapters", "ppo_target",
    "reward_model_type", "ppo_buffer_size", "ppo_epochs", "ppo_score_norm", "ppo_whiten_rewards",
    "pref_loss", "pref_loss_weights", "pref_beta", "pref_ftx", "pref_bco_weight", "dpo_label_smoothing", "ld_alpha",
    "num_generations", "num_iterations", "grpo_loss", "grpo_beta", "grpo_epsilon", "grpo_epsilon_high", "reward_funcs",
    "reward_weights", "max_new_tokens", "temperature", "top_p", "top_k", "teacher_model", "kd_alpha", "kd_beta",
    "kd_temperature", "use_dft_loss", "use_eaft_loss", "eaft_alpha", "use_asft_loss", "asft_alpha", "moe_aux_loss_coef",
    "simpo_gamma", "kto_chosen_weight", "kto_rejected_weight", "ref_model", "ref_model_adapters",
)  # fmt: skip
"""Keys that must be the same for a checkpoint to be gone on from (those of the data are in its fingerprint)."""


def train(config: Config, again: Sequence[str] | None = None) -> Run:
    """Train as config says; returns the finished (or stopped) run. Raises LuthierError for whatever the user can mend.

    again: the command that makes another process do the same; with it, one is started for each further device that is seen,
    unless a launcher has done so. None: this process alone.
    """
    if again is None or is_member() or (where := places(config)) == Places():
        return _run(config)
    with Crew(where, again) as crew:
        return _run(config, crew)


def _run(config: Config, crew: Crew | None = None) -> Run:
    device = pick_device(config)
    parallel = Parallel(device.torch, config.ddp_timeout, crew, backend=config.ddp_backend, bucket_mb=config.ddp_bucket_cap_mb)
    try:
        if parallel.is_main:
            run = Run.create(config)
        folder = parallel.same_everywhere(str(run.folder) if parallel.is_main else None)
        run = run if parallel.is_main else Run(Path(folder))
        if crew:
            crew.last_words = lambda reason: run.update_status(state="failed", reason=reason)
        with (
            run if parallel.is_main else nullcontext(),
            log_to_file(run.log_file) if parallel.is_main else nullcontext(),
            parallel.partners(),
        ):
            _train(config, run, device, parallel)
    finally:
        parallel.close()
    return run


def _train(config: Config, run: Run, device: Device, parallel: Parallel) -> None:
    set_seed(config.seed, deterministic=config.full_determinism)
    stage = STAGES[config.stage](config)
    rewards, callbacks = Rewards(config), make_callbacks(config, run)  # what is missing is said before anything is loaded
    require_compiler(config, device.torch)
    check_datasets(config, wants=stage.sample)
    tokenizer = load_tokenizer(config)
    template = find_template(config, tokenizer)
    model_config = load_config_of_model(config)
    check_bits(config, model_config)
    stage = balanced(config, stage, model_config)
    precision = training_precision(config, device, getattr(model_config, "dtype", None))
    for note in filter(None, (precision.note, choose_tf32(config.tf32, device))):
        logger.warning("%s", note)

    def encode(names: list[str] | None, part: str = "train") -> EncodedStore | Stream:
        if names is None and config.streaming:
            return open_stream(config, stage, template, tokenizer)
        making = config if parallel.is_main else config.model_copy(update={"overwrite_cache": False})
        return encode_dataset(making, names, stage, template, tokenizer, part=part)

    sharding = sharding_of(config)
    if sharding and parallel.is_main:
        logger.info("%s", sharding.describe(parallel.world_size, device.kind))
    sharding = sharding if parallel.world_size > 1 else None
    birthplace = device.torch if not sharding or holds_whole(config, device) else torch.device("cpu")

    if not parallel.is_main:
        parallel.barrier()  # rank 0 fills the token cache, the others read it
    data, held_out = datasets(config, encode)
    if parallel.is_main:
        parallel.barrier()

    if config.stage in PLAYERS:
        questions = Questions.read(config, data)
        rewards.try_out(questions.sample(0), config.num_generations)

    model = load_model(config, device=birthplace, dtype=precision.param_dtype, for_training=True)
    adapter = make_adapter(config, stage)
    net = adapter.attach(model)
    scorer = Scorer(net, neftune_alpha=config.neftune_noise_alpha)
    reference_bytes = set_reference(config, stage, scorer, adapter, net, device=birthplace, precision=precision)
    loader = make_loader(config, data, parallel.world_size)
    evaluations = {name: EvaluationLoader(store) for name, store in held_out.items()}
    if config.stage in PLAYERS:
        rewards.model = load_reward_model(config, tokenizer.decode, device=device.torch, precision=precision)
        respond = Respondent(config, net=net, tokenizer=tokenizer, template=template, rewards=rewards, precision=precision)
        player = PLAYERS[config.stage](
            config,
            stage=stage,
            questions=questions,
            respond=respond,
            scorer=scorer,
            net=net,
            precision=precision,
            parallel=parallel,
            keep=run.append_sample,
        )
        loader, evaluations = RolloutLoader(loader, player, config.max_new_tokens), respond.examine(held_out)
    learned = loader.store  # of a stream, what can be known of it now: its first window
    held_bytes = sum(p.numel() * p.element_size() for p in net.parameters()) + reference_bytes
    plan = plan_training(
        config,
        model_config=model_config,
        lengths=loader.store.lengths,
        supervised=float(learned.supervised.sum() / max(1, learned.lengths.sum())),
        samples_per_step=-(-loader.samples_per_step // parallel.world_size),
        device=device,
        precision=precision,
        held_bytes=held_bytes if birthplace == device.torch else 0,
        parts=parallel.world_size if sharding else 1,
    )
    if scorer.reference and config.precompute_ref_log_probs:
        stores, at_once = [learned, *held_out.values()], 2 * plan.micro_batch_tokens
        scorer.reference = cache_reference(scorer.reference, stores, max_tokens=at_once, device=birthplace, precision=precision)
    if plan.gradient_checkpointing or (sharding and sharding.checkpointing):
        with quiet_transformers():
            model.gradient_checkpointing_enable(
                gradient_checkpointing_kwargs={**(config.gradient_checkpointing_kwargs or {}), "use_reentrant": False}
            )
    compile_layers(config, model)
    same = identity(config, learned, loader, model_config)
    resume_from = parallel.same_everywhere(newest(run.resume_checkpoints(), same) if parallel.is_main else None)
    run.start() if parallel.is_main else None
    with StopSignals() as signals:
        trainer = Trainer(
            config,
            stage=stage,
            model=net,
            adapter=adapter,
            scorer=scorer,
            loader=loader,
            evaluations=evaluations,
            run=run,
            callbacks=callbacks,
            parallel=parallel,
            precision=precision,
            micro_batch_tokens=plan.micro_batch_tokens,
            save_model=saver(config, adapter, net, tokenizer, template),
            identity=same,
            sharding=sharding,
            resume_from=resume_from,
            stop_asked=signals.asked,
        )
        if parallel.is_main:
            if config.print_param_status:
                list_parameters(net)
            announce(config, net, trainer, learned, held_out, device, precision, plan)
            show_first_sample(learned, tokenizer)
        summary = trainer.fit()
    final = trainer.evaluate() if held_out and config.do_eval else None
    with trainer.whole_model():
        if parallel.is_main:
            save_final(run, saver(config, adapter, net, tokenizer, template))
    if parallel.is_main:
        if final:
            run.write_results("eval", final)
        run.write_results("train", {k: v for k, v in summary.items() if k not in ("state", "reason")})
        run.update_status(state="stopped" if summary["state"] == "stopped" else "finished", reason=summary["reason"])


def holds_whole(config: Config, device: Device) -> bool:
    """Whether the whole model may lie on device until each keeps its part. Else it begins in the CPU's memory."""
    stored = weight_bytes(resolve_model(config.model_name_or_path or "", config))
    share = (config.quantization_bit or 16) / 16  # of the bytes of files in 16 bits
    return 4 * share * stored < memory(device)[0]  # in float32 twice the bytes of the files, and room to cut them


def datasets(config: Config, encode: Callable[..., EncodedStore | Stream]) -> tuple[Tokens | Stream, dict[str, Tokens]]:
    """(what is learned, evaluation sets by name). encode(names, part) makes or opens a store; encode(None) may be a stream."""
    data: Tokens | Stream = encode(None)
    if config.val_size and not config.eval_dataset:
        if config.streaming:
            return data, {"eval": as_learned(config, data.first(int(config.val_size)))}
        learned, rest = data.split(config.val_size, config.seed)
        return learned, {"eval": as_learned(config, rest)}
    return data, evaluation_sets(config, encode)


def evaluation_sets(config: Config, encode: Callable[..., EncodedStore]) -> dict[str, Tokens]:
    """The stores of eval_dataset by name; {} where it is unset."""
    names = config.eval_dataset or []
    if config.eval_on_each_dataset:
        stores = {name: encode([name], f"eval-{i}") for i, name in enumerate(names)}
    else:
        stores = {"eval": encode(names, "eval")} if names else {}
    return {name: as_learned(config, store) for name, store in stores.items()}


def make_loader(config: Config, data: Tokens | Stream, world_size: int) -> Loader | StreamLoader:
    """Batches as the user counts them: per_device_train_batch_size x gradient_accumulation_steps x devices a step."""
    samples_per_step = config.per_device_train_batch_size * config.gradient_accumulation_steps * world_size
    if config.stage == "ppo":
        samples_per_step *= config.ppo_buffer_size
    if isinstance(data, Stream):
        return data.loader(lambda window: arranged(config, window), samples_per_step)
    store, units = arranged(config, data)
    count, at_once = len(store if units is None else units), config.per_device_train_batch_size * world_size
    left_out = count % at_once if config.dataloader_drop_last else 0
    if left_out == count:
        raise ConfigError(
            f"dataloader_drop_last leaves out all {count:,} samples: they do not fill one batch of {at_once:,}.",
            "Take it out, or lower per_device_train_batch_size.",
        )
    return Loader(
        store,
        samples_per_step=samples_per_step,
        seed=config.seed if config.data_seed is None else config.data_seed,
        shuffle=not config.disable_shuffling,
        units=units,
        left_out=left_out,
    )


def arranged(config: Config, store: Tokens) -> tuple[Tokens, list[np.ndarray] | None]:
    """What is learned of store, and its packed rows; None where a step is made of single samples."""
    packs = config.stage in ("pt", "sft") and (config.neat_packing or (config.packing and config.stage != "pt"))
    store = as_learned(config, store)
    return store, pack(np.asarray(store.lengths), config.cutoff_len) if packs else None


def identity(config: Config, store: Tokens, loader: Loader | StreamLoader, model_config: Any) -> Mapping[str, Any]:
    """What a checkpoint must share with a training that goes on from it."""
    shape = hashlib.sha256(json.dumps(model_config.to_dict(), sort_keys=True, default=str).encode()).hexdigest()[:16]
    return {
        **{key: getattr(config, key) for key in NUMBERS},
        "data": store.report["fingerprint"],
        "samples_per_step": loader.samples_per_step,
        "model": shape,
    }
