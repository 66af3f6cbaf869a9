"""Sources of rows. READERS: file suffix -> reader(File) -> iterator of (row number, row)."""

from luthier.registry import Registry

READERS = Registry(
    "file kind",
    {
        ".json": "luthier.datasets.sources.json_array:read_json",
        ".jsonl": "luthier.datasets.sources.json_lines:read_jsonl",
        ".ndjson": "luthier.datasets.sources.json_lines:read_jsonl",
        ".csv": "luthier.datasets.sources.table:read_csv",
        ".tsv": "luthier.datasets.sources.table:read_tsv",
        ".parquet": "luthier.datasets.sources.arrow:read_parquet",
        ".arrow": "luthier.datasets.sources.arrow:read_arrow",
        ".txt": "luthier.datasets.sources.text:read_txt",
        ".md": "luthier.datasets.sources.text:read_md",
    },
)
