"""A request to generate text, checked field by field."""

import math

from polyphony.generation.v1 import generation_pb2 as pb

from servekit.chat.json_schema import schema_of
from servekit.chat.message import check_messages
from servekit.chat.model import GenerationOptions
from servekit.errors import InvalidArgument
from servekit.models.catalogue import ModelSpec
from services.generation.settings import GenerationSettings

MAX_STOP_STRINGS = 4
MAX_TEMPERATURE = 2.0


def parse_request(request: pb.GenerateTextRequest, spec: ModelSpec, settings: GenerationSettings) -> GenerationOptions:
    """Check a request and its messages, and return its options.

    Args:
        request: The request.
        spec: The model that is asked; its `modalities` say which parts it takes.
        settings: The bounds of a JSON Schema.

    Raises:
        InvalidArgument: A field has an invalid value; the field is named.
        TooLarge: The schema exceeds its bounds.
    """
    check_messages(request.messages, spec.modalities, spec.id)
    if len(request.stop) > MAX_STOP_STRINGS:
        raise InvalidArgument(
            f"stop must have at most {MAX_STOP_STRINGS} strings, got {len(request.stop)}", field="stop"
        )
    for index, stop in enumerate(request.stop):
        if not stop:
            raise InvalidArgument(f"stop[{index}] must not be empty", field=f"stop[{index}]")
    if request.max_tokens < 0:
        raise InvalidArgument(f"max_tokens must be 0 or more, got {request.max_tokens}", field="max_tokens")
    return GenerationOptions(
        max_tokens=request.max_tokens,
        stop=tuple(request.stop),
        temperature=_temperature(request),
        top_p=_top_p(request),
        seed=request.seed if request.HasField("seed") else None,
        schema=schema_of(request.format, max_bytes=settings.max_schema_bytes, max_depth=settings.max_schema_depth),
    )


def _temperature(request: pb.GenerateTextRequest) -> float | None:
    if not request.HasField("temperature"):
        return None
    value = request.temperature
    if not math.isfinite(value) or not 0 <= value <= MAX_TEMPERATURE:
        raise InvalidArgument(f"temperature must be in [0, {MAX_TEMPERATURE:g}], got {value:g}", field="temperature")
    return value


def _top_p(request: pb.GenerateTextRequest) -> float | None:
    if not request.HasField("top_p"):
        return None
    value = request.top_p
    if not math.isfinite(value) or not 0 < value <= 1:
        raise InvalidArgument(f"top_p must be in (0, 1], got {value:g}", field="top_p")
    return value
