"""Run by test_sharding.py under torchrun: the same short trainings with one process and with two that hold parts of the model.

Prints one JSON row a case: name, curves alone and in parts, and what differs in the weights at the end.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

import torch

from luthier.config.sharding import Sharding
from luthier.trainer.parallel import Parallel
from tests.trainer.bench_of import make_trainer

ZERO3, ZERO2 = Sharding(reshard=True), Sharding(reshard=False)
SAVING = {"save_strategy": "steps", "save_steps": 3, "eval_strategy": "steps", "eval_steps": 2}
CASES = {
    "full, weights gathered twice": (ZERO3, {"finetuning_type": "full", "max_grad_norm": 0.5}),
    "full, weights kept": (ZERO2, {"finetuning_type": "full", "max_grad_norm": 0.5}),
    "freeze": (ZERO3, {"finetuning_type": "freeze"}),
    "lora": (ZERO3, {"finetuning_type": "lora", "learning_rate": 1e-2}),
    "lora, weights kept": (ZERO2, {"finetuning_type": "lora", "learning_rate": 1e-2}),
    "checkpointing": (ZERO3, {"finetuning_type": "full", "gradient_checkpointing": "on"}),
    "bfloat16": (ZERO3, {"finetuning_type": "full", "compute_dtype": torch.bfloat16}),
    "uneven passes": (ZERO3, {"finetuning_type": "full", "micro_batch_tokens": 1, "train_rows": 21}),
    "fewer samples than processes": (ZERO3, {"finetuning_type": "lora", "train_rows": 9}),
    "experts": (ZERO3, {"family": "qwen3_moe", "moe_aux_loss_coef": 0.5}),
    "experts, whole on each": (None, {"family": "qwen3_moe", "moe_aux_loss_coef": 0.5, "micro_batch_tokens": 30}),
    "compiled": (ZERO3, {"finetuning_type": "lora", "torch_compile_backend": "aot_eager", "gradient_checkpointing": "on"}),
    "tied embeddings, gemma": (ZERO3, {"finetuning_type": "full", "family": "gemma2"}),
}


def alone() -> Parallel:
    """Rank 0 of 1, whatever the environment says."""
    parallel = Parallel(torch.device("cpu"))
    parallel.world_size, parallel.rank = 1, 0
    return parallel


def rows(trainer) -> list[dict]:
    kept = ("step", "loss", "grad_norm", "eval_loss", "moe_aux_loss")
    return [{key: row[key] for key in kept if key in row} for row in trainer.run.read_metrics()]


def main(folder: Path) -> None:
    together = Parallel(torch.device("cpu"))
    for number, (name, (sharding, keys)) in enumerate(CASES.items()):
        if len(sys.argv) > 2 and name not in sys.argv[2:]:
            continue
        keys = SAVING | {"num_train_epochs": 1.5} | keys
        one = make_trainer(folder / f"{number}-one-{together.rank}", parallel=alone(), **keys, gradient_accumulation_steps=2)
        one.fit()
        two = make_trainer(folder / f"{number}-two", parallel=Parallel(torch.device("cpu")), sharding=sharding, **keys)
        two.fit()
        expected = dict(one.model.named_parameters())
        held = {key: value.detach() for key, value in two.model.named_parameters()}
        found = {key: value.full_tensor() if sharding else value for key, value in held.items()}
        apart = max(float((expected[key].detach() - found[key]).abs().max()) for key in expected)
        local = sum((value.to_local() if sharding else value).numel() for value in held.values())
        parts = local / sum(value.numel() for value in held.values())
        if together.is_main:
            print(json.dumps({"name": name, "one": rows(one), "two": rows(two), "apart": apart, "share": parts}), flush=True)
    together.close()


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp(dir=os.environ.get("TMPDIR"))))
