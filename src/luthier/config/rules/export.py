"""Rules on export."""

from luthier.config.rules.base import Rule

EXPORT = (
    Rule(
        "quantised export has data",
        ("export_quantization_bit", "export_format", "export_quantization_dataset"),
        lambda c: (c.export_quantization_bit or c.export_format in ("gptq", "awq")) and not c.export_quantization_dataset,
        "a quantised export needs export_quantization_dataset: texts to calibrate with.",
    ),
    Rule(
        "quantised export is GPTQ",
        ("export_quantization_bit", "export_format"),
        lambda c: c.export_quantization_bit is not None and c.export_format not in ("safetensors", "gptq"),
        "export_quantization_bit is for export_format gptq; awq has 4, fp8 and int8 have 8, a GGUF by export_gguf_type.",
    ),
)
