"""An exported folder to a repository of Hugging Face or ModelScope (export_hub_model_id).

Enters: the config. Leaves: a hub that has been asked who is logged in, before anything is computed; then the address.
Never: prints a token, publishes a folder that was not verified first.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from luthier.errors import ExportError
from luthier.hub import prefers_modelscope

if TYPE_CHECKING:
    from luthier.config import Config


class Hub(Protocol):
    """Made by find_hub."""

    def upload(self, folder: Path) -> str:
        """Publish the files of folder; returns the address of the repository."""
        ...


def find_hub(config: Config) -> Hub | None:
    """The hub that `hub` or the environment chooses, logged in; None where nothing is to be published."""
    if not config.export_hub_model_id:
        return None
    return ModelScope(config) if prefers_modelscope(config.hub) else HuggingFace(config)


class HuggingFace:
    """huggingface_hub's client."""

    def __init__(self, config: Config):
        from huggingface_hub import HfApi

        token = config.hf_hub_token or config.hub_token
        self._api = HfApi(token=token.get_secret_value() if token else None)
        self._name, self._private = str(config.export_hub_model_id), config.hub_private_repo
        try:
            self._api.whoami()
        except Exception as error:  # the client raises its own, requests' and httpx' kinds
            raise ExportError(
                f"Hugging Face does not know who publishes {self._name}: {str(error).splitlines()[0]}",
                "Log in with: hf auth login  or give hf_hub_token; or leave export_hub_model_id out.",
            ) from error

    def upload(self, folder: Path) -> str:
        try:
            repository = self._api.create_repo(self._name, private=self._private, exist_ok=True).repo_id
            self._api.upload_folder(repo_id=repository, folder_path=folder, commit_message="Upload with Luthier")
        except Exception as error:
            raise _failed(folder, self._name, error) from error
        return f"{self._api.endpoint}/{repository}"


class ModelScope:
    """modelscope-hub's client."""

    def __init__(self, config: Config):
        try:
            from modelscope_hub import HubApi
        except ImportError:
            raise ExportError(
                "ModelScope was asked for, but its client is not installed.", "pip install modelscope-hub"
            ) from None
        token = config.ms_hub_token
        self._api, self._name = HubApi(token=token.get_secret_value() if token else None), str(config.export_hub_model_id)
        self._private = config.hub_private_repo
        try:
            self._api.whoami()
        except Exception as error:  # the client raises its own and requests' kinds
            raise ExportError(
                f"ModelScope does not know who publishes {self._name}: {str(error).splitlines()[0]}",
                "Log in with: modelscope login --token TOKEN  or give ms_hub_token; or leave export_hub_model_id out.",
            ) from error

    def upload(self, folder: Path) -> str:
        try:
            if not self._api.repo_exists(self._name, "model"):
                self._api.create_repo(self._name, "model", visibility="private" if self._private else "public")
            self._api.upload_folder(self._name, "model", folder, commit_message="Upload with Luthier", disable_tqdm=True)
        except Exception as error:
            raise _failed(folder, self._name, error) from error
        return f"https://modelscope.cn/models/{self._name}"


def _failed(folder: Path, name: str, error: Exception) -> ExportError:
    said = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return ExportError(f"the model is in {folder}, but it could not be published as {name}: {said}")
