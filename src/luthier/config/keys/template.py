"""Keys of the chat template."""

from luthier.config.keys.base import Group


class TemplateKeys(Group):
    """How a conversation is written for the model."""

    template: str | None = None
    default_system: str | None = None
    tool_format: str | None = None
    enable_thinking: bool | None = True
    preserve_thinking: bool = False
