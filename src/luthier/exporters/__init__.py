"""File formats of export: name -> class, imported at first use."""

from luthier.registry import Registry

EXPORTERS = Registry(
    "export_format",
    {
        "safetensors": "luthier.exporters.safetensors:Safetensors",
        "gptq": "luthier.exporters.gptq:Gptq",
        "awq": "luthier.exporters.awq:Awq",
        "fp8": "luthier.exporters.eight_bits:Fp8",
        "int8": "luthier.exporters.eight_bits:Int8",
        "gguf": "luthier.exporters.gguf:Gguf",
        "gguf_lora": "luthier.exporters.gguf_lora:GgufLora",
        "ollama": "luthier.exporters.ollama:Ollama",
    },
)
