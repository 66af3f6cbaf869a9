"""Sources of rows. READERS: file suffix -> reader(File) -> iterator of (row number, row)."""

from luthier.registry import Registry

READERS = Registry(
    "file kind",
    {
        ".json": "luthier.datasets.sources.json_array:read_json",
        ".jsonl": "luthier.datasets.sources.json_lines:read_jsonl",
    },
)
