"""Names of models, adapters and datasets -> folders on this machine.

names.py         what the user wrote: starter, a folder, or the id of a repository on a hub
catalog.py       models known by name, from catalog.yaml
huggingface.py   fetch from Hugging Face       modelscope.py   fetch from ModelScope
verify.py        is every byte as the hub says, and is every file there that a model needs
"""

from luthier.hub.catalog import Entry, catalog, find_entry
from luthier.hub.fetch import Wanted, fetch, prefers_modelscope
from luthier.hub.names import STARTER, resolve_adapter, resolve_model

__all__ = [
    "STARTER",
    "Entry",
    "Wanted",
    "catalog",
    "fetch",
    "find_entry",
    "prefers_modelscope",
    "resolve_adapter",
    "resolve_model",
]
