"""Settings of the vision service."""

from typing import ClassVar

from pydantic import Field

from servekit.media.images import ImageLimits
from servekit.models.backend import Provider
from servekit.ops.ports import PORTS
from servekit.ops.settings import Port, ProcessSettings


class VisionSettings(ProcessSettings):
    """The settings of `POLYPHONY_VISION_…`."""

    process: ClassVar[str] = "vision"

    port: Port = PORTS["vision"].grpc
    metrics_port: Port = PORTS["vision"].metrics

    provider: Provider = "cpu"
    """The execution provider of ONNX Runtime."""

    triton_target: str = ""
    """`host:port` of a Triton server that runs the networks; empty for ONNX Runtime in this process."""

    max_image_bytes: int = Field(default=32 << 20, gt=0)
    """The largest image file in bytes."""

    max_image_pixels: int = Field(default=50_000_000, gt=0)
    """The largest decoded image in pixels; decoding takes about 4 bytes per pixel. One image is decoded at a time."""

    max_concurrent_megapixels: float = Field(default=8.0, ge=2)
    """Megapixels in which text is detected at the same time, on all threads; the detector takes about 200 bytes for
    each pixel. An image is scaled down to 4 megapixels before, or to this where it is less."""

    max_batch_megapixels: float = Field(default=0.0, ge=0)
    """The largest batch in megapixels; 0 runs one image at a time, which is fastest on a CPU."""

    max_queue_megapixels: float = Field(default=100.0, gt=0)
    """The largest queue in megapixels; more is rejected."""

    @property
    def image_limits(self) -> ImageLimits:
        """The limits of the image decoder."""
        return ImageLimits(self.max_image_bytes, self.max_image_pixels)
