"""Any fine-tuning method with a value head on top, which always learns: the model of stages rm and ppo."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from luthier.hub import resolve_adapter
from luthier.models.heads import HEAD_FILE, ModelWithHead, ValueHead

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from luthier.adapters.base import Adapter
    from luthier.config import Config


class Headed:
    """An Adapter (adapters/base.py) around another one. A head that lies in a given adapter's folder is gone on with."""

    def __init__(self, adapter: Adapter, config: Config):
        self._adapter, self._config = adapter, config

    def attach(self, model: PreTrainedModel, *, trainable: bool = True) -> ModelWithHead:
        device = model.get_input_embeddings().weight.device
        head = ValueHead(model.config.get_text_config().hidden_size).to(device)
        if folder := self._given():
            head.load(folder)
        return ModelWithHead(self._adapter.attach(model, trainable=trainable), head.requires_grad_(trainable))

    def disabled(self, model: ModelWithHead) -> AbstractContextManager[None]:
        return self._adapter.disabled(model.model)

    def save(self, model: ModelWithHead, folder: Path) -> None:
        self._adapter.save(model.model, folder)
        model.v_head.save(folder)

    def load(self, model: ModelWithHead, folder: Path) -> None:
        self._adapter.load(model.model, folder)
        model.v_head.load(folder)

    def merge(self, model: ModelWithHead) -> PreTrainedModel:
        return self._adapter.merge(model.model)

    def _given(self) -> Path | None:
        """The folder whose head is gone on with: that of the last given adapter, else the model's own."""
        config = self._config
        folders = [resolve_adapter(name, config) for name in config.adapter_name_or_path or ()]
        if config.model_name_or_path and Path(config.model_name_or_path).expanduser().is_dir():
            folders.insert(0, Path(config.model_name_or_path).expanduser())
        return next((folder for folder in reversed(folders) if (folder / HEAD_FILE).is_file()), None)
