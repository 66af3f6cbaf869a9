"""A textbook LoRA loop on transformers + peft: bf16 base, float32 adapter, autocast, padded rows, the model's own loss."""

from __future__ import annotations

import time

import torch
from peft import LoraConfig, get_peft_model

from bench.gpu.measure import Measured, Setting, peak_bytes, synchronize
from bench.gpu.rows import random_rows
from bench.gpu.shapes import make_model, shape_config
from bench.plain import padded, summed_loss


def run(setting: Setting) -> Measured:
    """The steps of setting, in the order of the rows; micro_rows samples at once."""
    device = setting.device
    dtype = torch.bfloat16 if device.startswith("cuda") else torch.float32
    config = shape_config(setting.model, tiny=setting.tiny)
    base = make_model(config, device, dtype, setting.attention)
    measured = Measured(parameters=base.num_parameters())
    if setting.checkpointing == "on":
        base.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    lora = LoraConfig(r=setting.rank, lora_alpha=2 * setting.rank, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(base, lora).train()
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=1e-4, fused=device.startswith("cuda"))
    rows = random_rows(setting.kind, setting.steps * setting.samples_per_step, setting.length, config.vocab_size)
    for step in range(setting.steps):
        chosen = rows[step * setting.samples_per_step : (step + 1) * setting.samples_per_step]
        supervised = sum(row.supervised for row in chosen)
        total = torch.zeros((), device=device)
        for at in range(0, len(chosen), setting.micro_rows):
            ids, mask, labels = (tensor.to(device) for tensor in padded(chosen[at : at + setting.micro_rows]))
            mask = None if bool(mask.all()) else mask
            with torch.autocast(device.split(":")[0], dtype, enabled=dtype == torch.bfloat16):
                logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
            loss = summed_loss(logits, labels) / supervised
            loss.backward()
            total += loss.detach()
        norm = torch.nn.utils.clip_grad_norm_(learned, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        synchronize(device)
        measured.times.append(time.perf_counter())
        measured.tokens.append(sum(len(row.input_ids) for row in chosen))
        measured.losses.append(float(total))
        measured.grad_norms.append(float(norm))
    measured.peak_bytes = peak_bytes(device)
    return measured
