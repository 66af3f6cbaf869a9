"""Keys of checkpoints and of publishing them."""

from typing import Literal

from pydantic import Field, SecretStr

from luthier.config.keys.base import Group


class SavingKeys(Group):
    """When checkpoints are written, how many are kept, and where they are sent."""

    save_strategy: Literal["no", "steps", "epoch", "best"] = "steps"
    save_steps: int | float = Field(500, gt=0)
    save_total_limit: int | None = Field(None, ge=0)
    save_only_model: bool = False
    save_safetensors: bool = True
    save_on_each_node: bool = False
    enable_jit_checkpoint: bool = False
    ignore_data_skip: bool = False
    restore_callback_states_from_checkpoint: bool = False
    push_to_hub: bool = False
    hub_model_id: str | None = None
    hub_strategy: Literal["end", "every_save", "checkpoint", "all_checkpoints"] = "every_save"
    hub_token: SecretStr | None = None
    hub_private_repo: bool | None = None
    hub_always_push: bool = False
    hub_revision: str | None = None
