"""`luthier export`: merge adapters and write a model that other tools load.

What enters: the words after the verb. What leaves: a folder, proved equal to what was trained, and an exit code.
"""

from __future__ import annotations

from luthier.config import load_config
from luthier.errors import ConfigError


def command(argv: list[str]) -> int:
    """luthier export [CONFIG.yaml] --adapter_name_or_path A --export_dir DIR [--key value ...]

    Merges the adapter(s) into their base and writes one of these, by export_format:
      safetensors  a Hugging Face folder: shards of export_size GB, tokenizer, chat template, Ollama's Modelfile (the default)
      gptq         the same in 2, 3, 4 or 8 bits (export_quantization_bit), calibrated by export_quantization_dataset
      awq          the same in 4 bits, calibrated too
      fp8, int8    the same in 8 bits, floating point or whole, with activations in 8 bits too: no calibration (vLLM, SGLang)
      gguf         one file for llama.cpp: export_gguf_type f32, f16, bf16, q8_0; q4_k_m and the like with llama.cpp installed
      ollama       the same, and `ollama create` where Ollama is installed
      gguf_lora    the adapter alone, for llama.cpp's --lora
    The result is loaded again and its logits compared with base and adapter before the folder gets its name; a failure leaves
    nothing behind. infer_dtype chooses the number format (default: that of the base). export_hub_model_id publishes it.

    Examples:
      luthier export --adapter_name_or_path saves/lora/sft --export_dir saves/lora/merged
      luthier export --adapter_name_or_path saves/lora/sft --export_dir saves/lora/gguf --export_format gguf
      luthier export --model_name_or_path starter --export_dir out --export_format gguf --export_gguf_type q8_0
      luthier export --adapter_name_or_path saves/lora/sft --export_dir saves/lora/gptq --export_quantization_bit 4 \\
        --export_quantization_dataset identity
    """
    if not argv:
        raise ConfigError("luthier export needs a model and an export_dir.", "luthier export --help shows examples.")
    config = load_config(argv)
    if not (config.model_name_or_path or config.adapter_name_or_path):
        raise ConfigError("no model is given.", "model_name_or_path: starter, a folder or a hub id; or adapter_name_or_path")
    from luthier.workflows.export import export

    print(export(config))
    return 0
