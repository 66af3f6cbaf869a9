"""Rules on export."""

from luthier.config.rules.base import Rule

EXPORT = (
    Rule(
        "quantised export has data",
        ("export_quantization_bit", "export_quantization_dataset"),
        lambda c: c.export_quantization_bit is not None and c.export_quantization_dataset is None,
        "export_quantization_bit needs export_quantization_dataset: texts to calibrate with.",
    ),
    Rule(
        "merge first, then quantise",
        ("export_quantization_bit", "adapter_name_or_path"),
        lambda c: c.export_quantization_bit is not None and bool(c.adapter_name_or_path),
        "an adapter is merged in one export and the result quantised in a second.",
    ),
)
