"""Row formats: the `formatting` of a dataset_info.json entry -> the class that reads its rows."""

from luthier.registry import Registry

FORMATS = Registry(
    "formatting",
    {
        "alpaca": "luthier.datasets.formats.alpaca:Alpaca",
        "sharegpt": "luthier.datasets.formats.sharegpt:ShareGPT",
        "openai": "luthier.datasets.formats.openai:OpenAI",
        "text": "luthier.datasets.formats.text:PlainText",
    },
)
