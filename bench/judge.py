"""What an adapter learned, by a third party: plain transformers + peft, one row at a time, full logits.

Enters: a base model, adapter folders (either side's) and held-out encoded rows. Leaves: mean loss in nats per supervised token.
"""

from __future__ import annotations

from pathlib import Path

from bench.tokens import TokenRow


def held_out_loss(base: Path, adapter: Path | None, rows: list[TokenRow]) -> float:
    """adapter: a PEFT folder, or None for the base alone."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    from bench.plain import summed_loss

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    if adapter is not None:
        model = PeftModel.from_pretrained(model, adapter)
    model.eval()
    total = 0.0
    with torch.no_grad():
        for row in rows:
            logits = model(input_ids=torch.tensor([row.input_ids])).logits
            total += summed_loss(logits, torch.tensor([row.labels])).item()
    return total / sum(row.supervised for row in rows)
