"""Keys of images, videos and sound."""

from pydantic import Field

from luthier.config.keys.base import Group


class MultimodalKeys(Group):
    """How media are read, and which parts of a multimodal model are frozen."""

    media_dir: str | None = None
    image_max_pixels: int = Field(768 * 768, ge=1)
    image_min_pixels: int = Field(32 * 32, ge=1)
    image_do_pan_and_scan: bool = False
    crop_to_patches: bool = False
    video_max_pixels: int = Field(256 * 256, ge=1)
    video_min_pixels: int = Field(16 * 16, ge=1)
    video_fps: float = Field(2.0, gt=0)
    video_maxlen: int = Field(128, ge=1)
    use_audio_in_video: bool = False
    audio_sampling_rate: int = Field(16000, ge=1)
    freeze_vision_tower: bool = True
    freeze_multi_modal_projector: bool = True
    freeze_language_model: bool = False
