"""Keys of text generation: predict, chat, serve, and the stages that generate as they train."""

from typing import Any

from pydantic import Field, model_validator

from luthier.config.keys.base import Group


class GenerationKeys(Group):
    """How the next token is chosen, and when an answer ends."""

    predict_with_generate: bool = False
    generation_max_length: int | None = Field(None, ge=1)
    generation_num_beams: int | None = Field(None, ge=1)
    generation_config: str | None = None
    eval_num_beams: int | None = Field(None, ge=1)
    sortish_sampler: bool = False
    do_sample: bool = True
    temperature: float = Field(0.95, ge=0)
    top_p: float = Field(0.7, ge=0, le=1)
    top_k: int = Field(50, ge=0)
    min_p: float = Field(0.0, ge=0, le=1)
    presence_penalty: float = Field(0.0, ge=-2, le=2)
    frequency_penalty: float = Field(0.0, ge=-2, le=2)
    stop: list[str] | None = None
    num_beams: int = Field(1, ge=1)
    max_length: int = Field(1024, ge=1)
    max_new_tokens: int = Field(1024, ge=1)
    repetition_penalty: float = Field(1.0, gt=0)
    length_penalty: float = 1.0
    skip_special_tokens: bool = True

    @model_validator(mode="after")
    def _settle_beams(self) -> Any:
        """LLaMA-Factory and transformers have names of their own for the beams of prediction; readers look at num_beams."""
        beams = self.eval_num_beams or self.generation_num_beams
        if beams and "num_beams" not in self.model_fields_set:
            object.__setattr__(self, "num_beams", beams)
        return self
