"""Luthier's own trainer on a random model: token store, loader, packed scorer, LoRA, loop, joined as `luthier train` does."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from bench.gpu.measure import Measured, Setting, peak_bytes
from bench.gpu.rows import random_rows
from bench.gpu.shapes import make_model, shape_config
from bench.tokens import TokenRow
from luthier.adapters import ADAPTERS
from luthier.batches.loader import Loader
from luthier.batches.store import EncodedStore, write_store
from luthier.config import Config
from luthier.models.score import Scorer
from luthier.runs import Run
from luthier.runtime.device import Device
from luthier.runtime.precision import training_precision
from luthier.stages import STAGES
from luthier.trainer.callbacks.base import Callback, Progress
from luthier.trainer.loop import Trainer
from luthier.trainer.parallel import Parallel
from luthier.types import Encoded, Segment
from luthier.workflows.plan import plan_training


def run(setting: Setting) -> Measured:
    """The steps of setting; micro-batches of micro_rows * length tokens, or as planned."""
    with tempfile.TemporaryDirectory() as folder:
        return _run(setting, Path(folder))


def _run(setting: Setting, folder: Path) -> Measured:
    on_gpu = setting.device.startswith("cuda")
    config = Config(
        stage="sft",
        finetuning_type="lora",
        model_name_or_path=setting.model,
        output_dir=str(folder / "run"),
        lora_rank=setting.rank,
        lora_alpha=2 * setting.rank,
        lora_target=["all"],
        learning_rate=1e-4,
        lr_scheduler_type="constant",
        max_steps=setting.steps,
        per_device_train_batch_size=setting.samples_per_step,
        disable_shuffling=True,
        logging_steps=1,
        save_strategy="no",
        bf16=on_gpu,
        use_cpu=not on_gpu,
    )
    device = torch.device(setting.device)
    shape = shape_config(setting.model, tiny=setting.tiny)
    machine = (
        Device(kind="cuda", index=device.index or 0, name=torch.cuda.get_device_name(device)) if on_gpu else Device(kind="cpu")
    )
    precision = training_precision(config, machine, torch.bfloat16 if on_gpu else None)
    model = make_model(shape, device, precision.param_dtype, "sdpa")
    parameters = model.num_parameters()
    adapter = ADAPTERS["lora"](config)
    net = adapter.attach(model)
    rows = random_rows(setting.kind, setting.steps * setting.samples_per_step, setting.length, shape.vocab_size)
    store = make_store(rows, folder / "store")
    checkpointing, tokens = setting.checkpointing == "on", setting.micro_rows * setting.length
    if setting.checkpointing == "planned":
        plan = plan_training(
            config,
            model_config=shape,
            lengths=store.lengths,
            supervised=float(store.supervised.sum() / store.lengths.sum()),
            samples_per_step=setting.samples_per_step,
            device=machine,
            precision=precision,
            held_bytes=sum(p.numel() * p.element_size() for p in net.parameters()),
        )
        checkpointing, tokens = plan.gradient_checkpointing, plan.micro_batch_tokens
    if checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    run = Run.create(config)
    record = Record(config, run)
    trainer = Trainer(
        config,
        stage=STAGES["sft"](config),
        model=net,
        adapter=adapter,
        scorer=Scorer(net),
        loader=Loader(store, samples_per_step=setting.samples_per_step, seed=0, shuffle=False),
        evaluations={},
        run=run,
        callbacks=[record],
        parallel=Parallel(device),
        precision=precision,
        micro_batch_tokens=tokens,
        save_model=lambda folder: None,
        identity={},
    )
    with run:
        run.start()
        trainer.fit()
    record.measured.parameters = parameters
    record.measured.peak_bytes = peak_bytes(setting.device)
    return record.measured


def make_store(rows: list[TokenRow], folder: Path) -> EncodedStore:
    def encoded(row: TokenRow) -> Encoded:
        return Encoded(segments=(Segment(input_ids=np.array(row.input_ids, np.int32), labels=np.array(row.labels, np.int32)),))

    return write_store(folder, ((number, encoded(row)) for number, row in enumerate(rows)), {"fingerprint": "random"})


class Record(Callback):
    """Keeps what each step reports; the loss is on the CPU by then, so the device has finished."""

    def __init__(self, config: Config, run: Run):
        super().__init__(config, run)
        self.measured = Measured()
        self._seen = 0

    def on_step_end(self, progress: Progress, metrics: Mapping[str, float]) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.measured.times.append(time.perf_counter())
        self.measured.tokens.append(progress.tokens_seen - self._seen)
        self.measured.losses.append(metrics["loss"])
        self.measured.grad_norms.append(metrics["grad_norm"])
        self._seen = progress.tokens_seen
