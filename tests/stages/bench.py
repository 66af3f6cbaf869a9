"""Synthetic samples for every stage, and a whole training on them: the harness of the stages' law-tests."""

from pathlib import Path

import numpy as np
import torch
from tests.conftest import make_tiny

from luthier.batches.loader import EvaluationLoader, Loader
from luthier.batches.store import write_store
from luthier.config import Config
from luthier.models.score import Scorer
from luthier.runs import Run
from luthier.runtime.precision import Precision
from luthier.stages import STAGES
from luthier.trainer.checkpoint import newest
from luthier.trainer.loop import Trainer
from luthier.trainer.parallel import Parallel
from luthier.types import IGNORE_INDEX, Encoded, Segment
from luthier.workflows.equip import as_learned, balanced, make_adapter, set_reference

CPU = torch.device("cpu")
FLOAT32 = Precision(device_type="cpu", param_dtype=torch.float32, compute_dtype=torch.float32)


def segment(prompt: np.ndarray, answer: np.ndarray) -> Segment:
    ids = np.concatenate([prompt, answer]).astype(np.int32)
    labels = ids.copy()
    labels[: len(prompt)] = IGNORE_INDEX
    return Segment(input_ids=ids, labels=labels)


def samples(stage: str, count: int, seed: int = 0) -> list[tuple[int, Encoded]]:
    """Good answers count upwards from the prompt's last token, bad ones downwards; lengths differ."""
    generator = np.random.default_rng(seed)
    out = []
    for number in range(count):
        prompt = generator.integers(20, 70, generator.integers(2, 7))
        up = prompt[-1] + 1 + np.arange(generator.integers(2, 9))
        down = prompt[-1] - 1 - np.arange(generator.integers(2, 9))
        good = number % 3 != 0
        if stage == "rm":  # separable: bad answers are made of other tokens
            encoded = Encoded(segments=(segment(prompt, up), segment(prompt, generator.integers(82, 95, len(down)))))
        elif stage == "dpo":
            encoded = Encoded(segments=(segment(prompt, up), segment(prompt, down)))
        elif stage == "kto":
            encoded = Encoded(segments=(segment(prompt, up if good else down),), value=float(good))
        else:
            encoded = Encoded(segments=(segment(prompt, up),))
        out.append((number, encoded))
    return out


def make_trainer(
    folder: Path,
    stage: str,
    *,
    micro_batch_tokens: int = 64,
    layout: str = "auto",
    count: int = 24,
    family: str = "qwen3",
    model=None,
    **keys,
) -> Trainer:
    """A Trainer of the stage over `count` synthetic samples and 8 to evaluate on, seeded, float32 on the CPU."""
    defaults = {
        "finetuning_type": "full",
        "learning_rate": 3e-3,
        "output_dir": str(folder),
        "logging_steps": 1,
        "num_train_epochs": 2.0,
        "per_device_train_batch_size": 4,
        "save_strategy": "no",
        "model_name_or_path": "tiny",
        "optim": "adamw_torch",
    }
    config = Config(do_train=True, stage=stage, **(defaults | keys))
    store = as_learned(config, write_store(folder.parent / f"{folder.name}-train", samples(stage, count), {"fingerprint": "a"}))
    held = as_learned(config, write_store(folder.parent / f"{folder.name}-eval", samples(stage, 8, 1), {"fingerprint": "b"}))
    torch.manual_seed(config.seed)
    model = make_tiny(family).train() if model is None else model
    part = balanced(config, STAGES[stage](config), model.config)
    adapter = make_adapter(config, part)
    net = adapter.attach(model)
    net.train()
    scorer = Scorer(net, layout=layout)
    set_reference(config, part, scorer, adapter, net, device=CPU, precision=FLOAT32)
    run = Run.create(config)
    run.start()
    return Trainer(
        config,
        stage=part,
        model=net,
        adapter=adapter,
        scorer=scorer,
        loader=Loader(
            store,
            samples_per_step=config.per_device_train_batch_size * config.gradient_accumulation_steps,
            seed=config.seed,
        ),
        evaluations={"eval": EvaluationLoader(held)} if config.eval_strategy != "no" else {},
        run=run,
        callbacks=(),
        parallel=Parallel(CPU),
        precision=FLOAT32,
        micro_batch_tokens=micro_batch_tokens,
        save_model=lambda where: adapter.save(net, where),
        identity={"data": "synthetic"},
        resume_from=newest(run.resume_checkpoints(), {"data": "synthetic"}),
    )


def rows(trainer: Trainer, key: str = "loss") -> list[float]:
    return [row[key] for row in trainer.run.read_metrics() if key in row]
