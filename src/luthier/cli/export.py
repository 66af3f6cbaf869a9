"""`luthier export`: merge adapters and write a model that other tools load.

What enters: the words after the verb. What leaves: a folder, proved equal to what was trained, and an exit code.
"""

from __future__ import annotations

from luthier.config import load_config
from luthier.errors import ConfigError


def command(argv: list[str]) -> int:
    """luthier export [CONFIG.yaml] --adapter_name_or_path A --export_dir DIR [--key value ...]

    Merges the adapter(s) into their base and writes safetensors shards of export_size GB with tokenizer, chat template and
    generation settings. The result is loaded again and its logits compared with base and adapter before the folder gets its
    name; a failure leaves nothing behind. infer_dtype chooses the number format (default: that of the base).

    Examples:
      luthier export --adapter_name_or_path saves/lora/sft --export_dir saves/lora/merged
      luthier export --model_name_or_path starter --adapter_name_or_path saves/lora/sft --export_dir out --infer_dtype float32
    """
    if not argv:
        raise ConfigError("luthier export needs a model and an export_dir.", "luthier export --help shows examples.")
    config = load_config(argv)
    if not (config.model_name_or_path or config.adapter_name_or_path):
        raise ConfigError("no model is given.", "model_name_or_path: starter, a folder or a hub id; or adapter_name_or_path")
    from luthier.workflows.export import export

    print(export(config))
    return 0
