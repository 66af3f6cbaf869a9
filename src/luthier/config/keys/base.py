"""The base class of the key groups: values as people write them become typed values; nothing is mutable, nothing is extra.

Enters: native values or text ("5e-05", "True", "a,b", "none").  Leaves: a frozen object.  Never reads a file.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

from luthier.config.values import kind_of, read_value


class Group(BaseModel):
    """A set of flat configuration keys. Subclasses declare fields only; defaults are LLaMA-Factory's unless noted."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        defer_build=True,  # a group is rarely validated by itself: importing pays for none of them
        allow_inf_nan=False,
        hide_input_in_errors=True,  # a token typed into the wrong key stays out of tracebacks
        protected_namespaces=(),  # model_name_or_path and friends are LLaMA-Factory's names
    )

    @model_validator(mode="before")
    @classmethod
    def _read(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        known = cls.model_fields
        return {key: read_value(kind_of(cls, key), value) if key in known else value for key, value in values.items()}
