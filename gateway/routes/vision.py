"""`/v1/vision/read`: the text of an image, which is the raw body, a form's file, or named in JSON."""

from polyphony.vision.v1.vision_pb2 import ReadTextRequest, ReadTextResponse
from starlette.responses import Response

from gateway.field_names import rename_fields
from gateway.http.endpoint import HandlerContext, Operation
from gateway.http.intake import read_media
from gateway.http.responses import json_response
from gateway.schemas.vision import Box, ReadAnswer, ReadLine, ReadOptions, ReadRequest


async def read_text(context: HandlerContext) -> Response:
    """Read the text of an image. A raw body is the fastest way to send it."""
    limit = context.state.settings.max_image_bytes
    options, image, field = await read_media(context, ReadOptions, ReadRequest, "image_url", limit)
    state = context.state
    model = state.models.resolve("read_text", options.model, context.caller)
    request = ReadTextRequest(image=image, model=model, min_confidence=options.min_confidence)
    with rename_fields(image=field):
        response = await state.clients.vision.ReadText(request)
    return json_response(_answer(response))


def _answer(response: ReadTextResponse) -> ReadAnswer:
    lines = [
        ReadLine(
            line.text,
            round(line.confidence, 4),
            Box(line.bounding_box.left, line.bounding_box.top, line.bounding_box.width, line.bounding_box.height),
            [(corner.x, corner.y) for corner in line.corners],
        )
        for line in response.lines
    ]
    text = "\n".join(line.text for line in lines)
    return ReadAnswer(text, lines, response.width, response.height, response.model)


OPERATIONS = (
    Operation(
        "POST",
        "/v1/vision/read",
        "readText",
        read_text,
        "Read text in an image",
        body=ReadRequest,
        form=ReadOptions,
        raw="image/*",
        answer=ReadAnswer,
    ),
)
