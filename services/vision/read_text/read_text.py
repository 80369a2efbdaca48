"""`ReadText`: the text of one image, line by line."""

from polyphony.type.v1.bounding_box_pb2 import BoundingBox
from polyphony.vision.v1 import vision_pb2 as pb

from servekit.context import current
from servekit.errors import InvalidArgument, TooLarge
from servekit.media.image_size import declared_size
from servekit.media.objects import ObjectStore
from servekit.scheduling.batch import BatchScheduler
from servekit.tasks.repository import Models
from services.vision.read_text import Line, Page
from services.vision.read_text.models.tiles import scale
from services.vision.settings import VisionSettings

DEFAULT_CONFIDENCE = 0.5
BYTES_PER_MEGAPIXEL = 400_000  # of a typical image file whose beginning does not declare its size
DECODING_SHARE = 0.03  # of the time that decoding takes of that of detecting text, for a pixel (PP-OCR on a CPU)


class TextRecognition:
    """Reads the text of images.

    Args:
        models: The models that read text.
        store: The object store of media that requests refer to.
        settings: The limits of a request.
    """

    def __init__(
        self, models: Models[BatchScheduler[bytes, Page]], store: ObjectStore, settings: VisionSettings
    ) -> None:
        self._models = models
        self._store = store
        self._settings = settings

    async def read_text(self, request: pb.ReadTextRequest) -> pb.ReadTextResponse:
        """Read one image.

        Raises:
            InvalidArgument: A field is out of its range, or the image cannot be decoded.
            NotFound: There is no such model.
            Overloaded: The queue is full.
        """
        if not 0 <= request.min_confidence <= 1:
            problem = f"min_confidence must be in [0, 1], got {request.min_confidence:g}"
            raise InvalidArgument(problem, field="min_confidence")
        async with self._models.acquire(request.model) as scheduler:
            data = await self._store.resolve(request.image, current().tenant, self._settings.max_image_bytes, "image")
            page = await scheduler.submit(data, estimated_megapixels(data, self._settings))
        min_confidence = request.min_confidence or DEFAULT_CONFIDENCE
        lines = [_line(line) for line in page.lines if line.confidence >= min_confidence]
        return pb.ReadTextResponse(lines=lines, width=page.width, height=page.height, model=scheduler.spec.id)


def estimated_megapixels(data: bytes, settings: VisionSettings) -> float:
    """The cost of an image before it is decoded: the megapixels in which text is detected, and a share for decoding."""
    size = declared_size(data)
    if size is None:
        return len(data) / BYTES_PER_MEGAPIXEL
    megapixels = min(size[0] * size[1], settings.max_image_pixels) / 1e6
    try:
        factor = scale(*size, settings.max_concurrent_megapixels * 1e6, "image")
    except TooLarge:  # no text is detected in it
        factor = 0.0
    return megapixels * (factor * factor + DECODING_SHARE)


def _line(line: Line) -> pb.TextLine:
    left, top = (float(value) for value in line.corners.min(axis=0))
    right, bottom = (float(value) for value in line.corners.max(axis=0))
    return pb.TextLine(
        text=line.text,
        confidence=line.confidence,
        bounding_box=BoundingBox(left=left, top=top, width=right - left, height=bottom - top),
        corners=[pb.Point(x=float(x), y=float(y)) for x, y in line.corners],
    )
