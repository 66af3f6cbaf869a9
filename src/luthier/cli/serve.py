"""`luthier serve` (`luthier api`): an OpenAI-compatible server for a model.

What enters: the words after the verb, API_HOST, API_PORT and API_KEY. What leaves: an exit code, when it is stopped.
"""

from __future__ import annotations

import os

from luthier.config import load_config

FLAGS = {"--host": "--api_host", "--port": "--api_port", "--engine": "--infer_backend"}
"""Short names of keys, on this command's line alone."""

ENVIRONMENT = {"API_HOST": "api_host", "API_PORT": "api_port", "API_KEY": "api_key"}
"""Secrets and addresses that may come from outside (LLaMA-Factory's names); a flag or the file wins."""


def command(argv: list[str]) -> int:
    """luthier serve [CONFIG.yaml] [--model_name_or_path M] [--adapter_name_or_path A] [--template T] [--host H] [--port P]
                     [--api-key K] [--engine vllm|sglang] [--key value ...]

    Serves a model as OpenAI does: /v1/chat/completions, /v1/completions, /v1/embeddings, /v1/models,
    /v1/score/evaluation (reward models), /health and /metrics. Without a model, the bundled starter. Listens on
    127.0.0.1:8000; on another address a key is required.

      --api_adapters news=saves/news saves/identity   further adapters on the same base, each a model of its own
      --max_concurrent N --max_queued N               requests at once, and waiting; one more gets status 429
      --engine vllm|sglang                            start that server instead, with the same template and adapters

    API_HOST, API_PORT and API_KEY are read from the environment; a flag wins.

    Examples:
      luthier serve
      luthier serve --adapter_name_or_path saves/lora/sft --port 8001
      API_KEY=secret luthier api examples/inference/qwen3_lora_sft.yaml --host 0.0.0.0
    """
    words = [_renamed(word) for word in argv]
    config = load_config(words)
    outside = {key: os.environ[name] for name, key in ENVIRONMENT.items() if os.environ.get(name)}
    missing = {key: value for key, value in outside.items() if key not in config.model_fields_set}
    if missing:
        config = load_config([*words, *(f"--{key}={value}" for key, value in missing.items())])
    if config.infer_backend == "huggingface":
        from luthier.serving.server import run

        run(config)
        return 0
    from luthier.workflows.launch import serve_with

    return serve_with(config)


def _renamed(word: str) -> str:
    name, equals, value = word.partition("=")
    return f"{FLAGS[name]}{equals}{value}" if name in FLAGS else word
