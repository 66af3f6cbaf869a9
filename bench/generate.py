"""The plain limit of answering: `model.generate` of transformers on one padded batch, nothing around it.

Enters: a model folder, prompts. Leaves: generated tokens a second, the best of three rounds, in a process of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.material import REPOSITORY

ROUNDS = 3


def generate_rate(model: Path, prompts: Sequence[str], new_tokens: int, env: Mapping[str, str]) -> float:
    """Tokens a second with all prompts in one batch, each answered with exactly new_tokens."""
    wish = json.dumps({"model": str(model), "prompts": list(prompts), "new_tokens": new_tokens})
    done = subprocess.run(
        [sys.executable, "-m", "bench.generate"],
        input=wish, env=env, cwd=REPOSITORY, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return float(done.stdout.split()[-1])


def main() -> None:
    """stdin: {"model", "prompts", "new_tokens"}.  stdout: tokens a second."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

    wish = json.load(sys.stdin)
    model = AutoModelForCausalLM.from_pretrained(wish["model"], dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(wish["model"], padding_side="left")
    inputs = tokenizer(wish["prompts"], padding=True, return_tensors="pt", return_token_type_ids=False)
    count = wish["new_tokens"]
    config = GenerationConfig(
        max_new_tokens=count, min_new_tokens=count, do_sample=False, pad_token_id=0, eos_token_id=tokenizer.eos_token_id
    )
    seconds = []
    for _ in range(1 + ROUNDS):  # the first warms
        began = time.monotonic()
        with torch.no_grad():
            model.generate(**inputs, generation_config=config)
        seconds.append(time.monotonic() - began)
    print(len(wish["prompts"]) * count / min(seconds[1:]))


if __name__ == "__main__":
    main()
