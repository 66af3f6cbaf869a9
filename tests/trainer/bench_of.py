"""A whole training on synthetic tokens in a fraction of a second: the harness of the trainer's law-tests."""

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from luthier.adapters import ADAPTERS
from luthier.batches.loader import EvaluationLoader, Loader
from luthier.batches.pack import pack
from luthier.batches.store import write_store
from luthier.config import Config
from luthier.config.sharding import Sharding
from luthier.models.compiled import compile_layers
from luthier.models.load import load_model
from luthier.models.score import Scorer
from luthier.runs import Run
from luthier.runtime.precision import Precision
from luthier.stages import STAGES
from luthier.trainer.checkpoint import newest
from luthier.trainer.loop import Trainer
from luthier.trainer.parallel import Parallel
from luthier.types import IGNORE_INDEX, Encoded, Segment
from luthier.workflows.equip import balanced
from tests.conftest import make_tiny


def rows(count: int, seed: int = 0) -> list[tuple[int, Encoded]]:
    """Counting sequences modulo 90 with a random start and stride: something a tiny model learns."""
    generator = np.random.default_rng(seed)
    out = []
    for number in range(count):
        length, start, stride = generator.integers(6, 30), generator.integers(3, 93), generator.integers(1, 3)
        ids = (3 + (start + stride * np.arange(length)) % 90).astype(np.int32)
        labels = ids.copy()
        labels[: length // 3] = IGNORE_INDEX
        out.append((number, Encoded(segments=(Segment(input_ids=ids, labels=labels),))))
    return out


def make_trainer(
    folder: Path,
    *,
    micro_batch_tokens: int = 64,
    callbacks=(),
    layout: str = "auto",
    family: str = "qwen3",
    shape: dict[str, int] | None = None,
    train_rows: int = 24,
    parallel: Parallel | None = None,
    sharding: Sharding | None = None,
    compute_dtype: torch.dtype = torch.float32,
    scale: float | None = None,
    **keys,
) -> Trainer:
    """A Trainer over 24 (by default) rows and 8 evaluation rows, seeded, float32 on the CPU. keys: config keys.

    shape: of the model, where it is another one.  scale: by which losses are scaled at first, as for float16."""
    parallel = parallel or Parallel(torch.device("cpu"))
    keys = {
        "finetuning_type": "full",
        "learning_rate": 3e-3,
        "output_dir": str(folder),
        "logging_steps": 1,
        "num_train_epochs": 2.0,
    } | keys
    keys = {
        "per_device_train_batch_size": 4,
        "save_strategy": "no",
        "model_name_or_path": "tiny",
        "optim": "adamw_torch",
    } | keys
    config = Config(do_train=True, stage="sft", **keys)
    torch.manual_seed(config.seed)
    names = f"{folder.name}-{parallel.rank}"
    store = write_store(folder.parent / f"{names}-train", rows(train_rows), {"fingerprint": "synthetic"})
    held_out = write_store(folder.parent / f"{names}-eval", rows(8, seed=1), {"fingerprint": "synthetic-eval"})
    model = make_tiny(family, **(shape or {}))
    if config.quantization_bit:
        (files := folder.parent / f"{names}-model").mkdir(exist_ok=True)
        model.config.to_json_file(files / "config.json")  # save_pretrained writes on rank 0 alone
        save_file(model.state_dict(), files / "model.safetensors", metadata={"format": "pt"})
        model = load_model(config.model_copy(update={"model_name_or_path": str(files)}), dtype=torch.float32)
    model.train()
    torch.manual_seed(config.seed)
    adapter = ADAPTERS[config.finetuning_type](config)
    net = adapter.attach(model)
    net.train()
    if parallel.is_main:
        run = Run.create(config)
        run.start()
    parallel.barrier()
    run = run if parallel.is_main else Run(folder)
    units = pack(np.asarray(store.lengths), config.cutoff_len) if config.packing else None
    loader = Loader(
        store,
        samples_per_step=config.per_device_train_batch_size * config.gradient_accumulation_steps * parallel.world_size,
        seed=config.seed,
        units=units,
    )
    identity = {"learning_rate": config.learning_rate, "data": "synthetic"}
    precise = compute_dtype == torch.float32
    if config.gradient_checkpointing == "on":
        net.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    scorer = Scorer(net, layout=layout, neftune_alpha=config.neftune_noise_alpha)
    compile_layers(config, net)
    trainer = Trainer(
        config,
        stage=balanced(config, STAGES["sft"](config), model.config),
        model=net,
        adapter=adapter,
        scorer=scorer,
        loader=loader,
        evaluations={"eval": EvaluationLoader(held_out)} if config.eval_strategy != "no" else {},
        run=run,
        callbacks=callbacks,
        parallel=parallel,
        precision=Precision(
            device_type="cpu",
            param_dtype=torch.float32,
            compute_dtype=compute_dtype,
            autocast=not precise,
            grad_scaler=scale is not None,
        ),
        micro_batch_tokens=micro_batch_tokens,
        save_model=lambda where: adapter.save(net, where),
        identity=identity,
        sharding=sharding,
        resume_from=parallel.same_everywhere(newest(run.resume_checkpoints(), identity)),
    )
    if scale is not None:
        trainer.updater.scaler = torch.amp.GradScaler("cpu", init_scale=scale)
    return trainer


def losses(trainer: Trainer) -> list[float]:
    return [row["loss"] for row in trainer.run.read_metrics() if "loss" in row]


def weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in trainer.model.named_parameters()}
