"""What can be set of the vision service."""

from typing import ClassVar

from pydantic import Field

from servekit.media.images import ImageLimits
from servekit.models.backend import Provider
from servekit.ops.settings import Port, ProcessSettings


class VisionSettings(ProcessSettings):
    """The knobs of `POLYPHONY_VISION_…`."""

    process: ClassVar[str] = "vision"

    port: Port = 50051
    metrics_port: Port = 9151

    provider: Provider = "cpu"
    """Where onnxruntime runs the networks."""

    triton: str = ""
    """`host:port` of a Triton server that holds the networks instead; empty for onnxruntime here."""

    max_image_bytes: int = Field(default=32 << 20, gt=0)
    """The largest image file."""

    max_image_pixels: int = Field(default=50_000_000, gt=0)
    """The largest image once decoded; a pixel takes about 10 bytes."""

    max_batch_megapixels: float = Field(default=0.0, ge=0)
    """How many megapixels are read together. On a CPU one image at a time is fastest."""

    max_queue_megapixels: float = Field(default=100.0, gt=0)
    """How many megapixels may wait; more are refused at once."""

    @property
    def image_limits(self) -> ImageLimits:
        """What of an image is decoded."""
        return ImageLimits(self.max_image_bytes, self.max_image_pixels)
