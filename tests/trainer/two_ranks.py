"""Run by test_sharding.py under torchrun: the same short trainings with one process and with two that hold parts of the model.

Prints one JSON row a case: name, curves alone and in parts, and what differs in the weights at the end.
"""

import json
import math
import os
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import torch
from torch.distributed.tensor import DTensor

from luthier.adapters.targets import parameter_count
from luthier.config.sharding import Sharding
from luthier.trainer.parallel import Parallel
from luthier.trainer.quantised import into_row, tensors_of
from tests.trainer.bench_of import make_trainer

ZERO3, ZERO2 = Sharding(reshard=True), Sharding(reshard=False)
SAVING = {"save_strategy": "steps", "save_steps": 3, "eval_strategy": "steps", "eval_steps": 2}
WIDE = {"hidden_size": 64, "head_dim": 16, "intermediate_size": 128}
"""Enough for groups of 64 weights that share a scale."""
QLORA = {"finetuning_type": "lora", "learning_rate": 1e-2, "shape": WIDE}
CASES = {
    "full, weights gathered twice": (ZERO3, {"finetuning_type": "full", "max_grad_norm": 0.5}),
    "full, weights kept": (ZERO2, {"finetuning_type": "full", "max_grad_norm": 0.5}),
    "freeze": (ZERO3, {"finetuning_type": "freeze"}),
    "lora": (ZERO3, {"finetuning_type": "lora", "learning_rate": 1e-2}),
    "lora, weights kept": (ZERO2, {"finetuning_type": "lora", "learning_rate": 1e-2}),
    "checkpointing": (ZERO3, {"finetuning_type": "full", "gradient_checkpointing": "on"}),
    "bfloat16": (ZERO3, {"finetuning_type": "full", "compute_dtype": torch.bfloat16}),
    "float16": (ZERO3, {"finetuning_type": "full", "compute_dtype": torch.float16, "scale": 2.0**16}),
    "float16, too large at first": (ZERO3, {"finetuning_type": "full", "compute_dtype": torch.float16, "scale": 2.0**21}),
    "scaled": (ZERO3, {"finetuning_type": "full", "max_grad_norm": 0.5, "scale": 2.0**16}),
    "uneven passes": (ZERO3, {"finetuning_type": "full", "micro_batch_tokens": 1, "train_rows": 21}),
    "fewer samples than processes": (ZERO3, {"finetuning_type": "lora", "train_rows": 9}),
    "experts": (ZERO3, {"family": "qwen3_moe", "moe_aux_loss_coef": 0.5}),
    "experts, whole on each": (None, {"family": "qwen3_moe", "moe_aux_loss_coef": 0.5, "micro_batch_tokens": 30}),
    "compiled": (ZERO3, {"finetuning_type": "lora", "torch_compile_backend": "aot_eager", "gradient_checkpointing": "on"}),
    "nf4": (ZERO3, QLORA | {"quantization_bit": 4}),
    "fp4, weights kept": (ZERO2, QLORA | {"quantization_bit": 4, "quantization_type": "fp4", "double_quantization": False}),
    "nf4, checkpointing": (ZERO3, QLORA | {"quantization_bit": 4, "gradient_checkpointing": "on"}),
    "int8": (ZERO3, QLORA | {"quantization_bit": 8}),
    "hqq": (ZERO3, QLORA | {"quantization_bit": 4, "quantization_method": "hqq"}),
    "torchao": (ZERO3, QLORA | {"quantization_bit": 8, "quantization_method": "torchao"}),
    "codes": (ZERO3, QLORA | {"quantization_bit": 4, "quantization_method": "torchao"}),
    "tied embeddings, gemma": (ZERO3, {"finetuning_type": "full", "family": "gemma2"}),
}

PACKAGES = {
    name: {"hqq": "hqq", "torchao": "torchao", "codes": "torchao"}.get(name, "bitsandbytes")
    for name, (_, keys) in CASES.items()
    if "quantization_bit" in keys
}


def alone() -> Parallel:
    """Rank 0 of 1, whatever the environment says."""
    parallel = Parallel(torch.device("cpu"))
    parallel.world_size, parallel.rank = 1, 0
    return parallel


def rows(trainer) -> list[dict]:
    """Norms that are no number are written as null."""
    kept = ("step", "loss", "grad_norm", "eval_loss", "moe_aux_loss")
    found = [{key: row[key] for key in kept if key in row} for row in trainer.run.read_metrics()]
    return [{key: math.inf if value is None else value for key, value in row.items()} for row in found]


def to_local(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def main(folder: Path) -> None:
    together = Parallel(torch.device("cpu"))
    for number, (name, (sharding, keys)) in enumerate(CASES.items()):
        if (len(sys.argv) > 2 and name not in sys.argv[2:]) or not find_spec(PACKAGES.get(name, "torch")):
            continue
        keys = SAVING | {"num_train_epochs": 1.5} | keys
        one = make_trainer(folder / f"{number}-one-{together.rank}", parallel=alone(), **keys, gradient_accumulation_steps=2)
        one.fit()
        two = make_trainer(folder / f"{number}-two", parallel=Parallel(torch.device("cpu")), sharding=sharding, **keys)
        two.fit()
        for layer in one.model.get_base_model().model.layers if one.config.quantization_bit else ():
            into_row(layer, torch.device("cpu"))  # so that what its layers are made of has a name, as in parts
        two.parallel.settle()
        held, whole = dict(two.model.named_parameters()), dict(one.model.named_parameters())
        found = {key: value.detach() for key, value in held.items() if isinstance(value, DTensor) or not sharding}
        parts = sum(to_local(value).nbytes for value in found.values()) / sum(value.nbytes for value in found.values())
        found = {key: value.double() for key, value in found.items()}  # gloo knows no int16
        found = {key: value.full_tensor() if sharding else value for key, value in found.items()}
        apart = max(float((whole[key].detach().double() - found[key]).abs().max()) for key in found)
        windows = [tensor for module in two.model.modules() for tensor in tensors_of(module)]
        assert len(found) + len({*held} & {*whole} - {*found}) == len(held) == len(whole)
        assert parameter_count(two.model) == parameter_count(one.model)
        assert not sharding or not any(tensor.untyped_storage().nbytes() for tensor in windows)
        if together.is_main:
            told = {"apart": apart, "share": parts, "scale": two.updater.scaler.get_scale()}
            print(json.dumps({"name": name, "one": rows(one), "two": rows(two)} | told), flush=True)
    together.close()


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp(dir=os.environ.get("TMPDIR"))))
