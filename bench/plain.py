"""A textbook LoRA loop on torch, transformers and peft: padded batches in the order of the file, full logits, AdamW, cosine.

    python -m bench.plain bench/sft.yaml model_name_or_path=M output_dir=O tokens=tokens.jsonl

Enters: the recipe that the others read, and the ids and labels that the peer made of the rows. Leaves: the same log files and
adapter as a training of the others. It shows what anyone gets without a framework, and is the reference for the loss.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import yaml
from peft import LoraConfig, get_peft_model
from torch import Tensor
from transformers import AutoModelForCausalLM, get_scheduler, set_seed

from bench.tokens import IGNORE, TokenRow, read_tokens

PAD_TO = 8


def padded(rows: list[TokenRow]) -> tuple[Tensor, Tensor, Tensor]:
    """input_ids, attention_mask, labels, each int64 (B, L), padded on the right to the longest row."""
    length = math.ceil(max(len(row.input_ids) for row in rows) / PAD_TO) * PAD_TO
    ids = torch.zeros(len(rows), length, dtype=torch.long)
    mask = torch.zeros_like(ids)
    labels = torch.full_like(ids, IGNORE)
    for i, row in enumerate(rows):
        ids[i, : len(row.input_ids)] = torch.tensor(row.input_ids)
        mask[i, : len(row.input_ids)] = 1
        labels[i, : len(row.labels)] = torch.tensor(row.labels)
    return ids, mask, labels


def summed_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Sum over supervised tokens of -log p, in nats. logits (B, L, V), labels (B, L)."""
    return F.cross_entropy(logits[:, :-1].float().flatten(0, 1), labels[:, 1:].flatten(), ignore_index=IGNORE, reduction="sum")


def train(recipe: dict[str, Any]) -> None:
    output_dir = Path(recipe["output_dir"])
    output_dir.mkdir(parents=True, exist_ok=True)
    set_seed(int(recipe["seed"]))
    rows = read_tokens(Path(recipe["tokens"]))
    base = AutoModelForCausalLM.from_pretrained(recipe["model_name_or_path"], dtype=torch.float32)
    lora = LoraConfig(
        r=recipe["lora_rank"], lora_alpha=recipe["lora_alpha"], target_modules="all-linear", task_type="CAUSAL_LM"
    )
    model = get_peft_model(base, lora).train()
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=float(recipe["learning_rate"]), weight_decay=0.0)

    micro, accumulation = recipe["per_device_train_batch_size"], recipe["gradient_accumulation_steps"]
    per_step = micro * accumulation
    steps = math.ceil(len(rows) / per_step) * recipe["num_train_epochs"]
    if recipe.get("max_steps"):
        steps = min(steps, recipe["max_steps"])
    schedule = get_scheduler(recipe["lr_scheduler_type"], optimizer, recipe["warmup_steps"], steps)
    tokens_seen = 0
    for step in range(steps):
        begin = step * per_step % (math.ceil(len(rows) / per_step) * per_step)
        chosen = rows[begin : begin + per_step]
        supervised = sum(row.supervised for row in chosen)
        total = 0.0
        for at in range(0, len(chosen), micro):
            ids, mask, labels = padded(chosen[at : at + micro])
            loss = summed_loss(model(input_ids=ids, attention_mask=mask, use_cache=False).logits, labels) / supervised
            loss.backward()
            total += loss.item()
        grad_norm = torch.nn.utils.clip_grad_norm_(learned, 1.0).item()
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        tokens_seen += sum(len(row.input_ids) for row in chosen)
        _append(output_dir / "metrics.jsonl", step=step + 1, loss=total, grad_norm=grad_norm, tokens_seen=tokens_seen)
        _append(output_dir / "trainer_log.jsonl", current_steps=step + 1, total_steps=steps, loss=total)
    model.save_pretrained(output_dir)


def _append(path: Path, **row: object) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def read_recipe(arguments: list[str]) -> dict[str, Any]:
    """A YAML file, then key=value on top; values are read as YAML."""
    recipe = yaml.safe_load(Path(arguments[0]).read_text(encoding="utf-8"))
    for pair in arguments[1:]:
        key, _, value = pair.partition("=")
        recipe[key] = yaml.safe_load(value)
    return recipe


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        raise SystemExit(__doc__)
    train(read_recipe(sys.argv[1:]))
