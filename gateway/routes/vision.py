"""`/v1/vision/read`: the text of an image, sent as it is, as a form, or within JSON."""

from polyphony.type.v1.media_pb2 import Media
from polyphony.vision.v1.vision_pb2 import ReadTextRequest, ReadTextResponse
from starlette.responses import Response

from gateway.field_names import rename_fields
from gateway.http.bodies import read, read_json
from gateway.http.endpoint import HandlerContext, Operation
from gateway.http.forms import Part, form_struct, read_form
from gateway.http.responses import json_response
from gateway.media.resolver import parse_media_source
from gateway.schemas.vision import Box, ReadAnswer, ReadLine, ReadOptions, ReadRequest
from servekit.rpc.errors import InvalidArgument


async def read_text(context: HandlerContext) -> Response:
    """Read the text of an image. The raw body is the quickest way."""
    kind = context.request.headers.get("content-type", "").partition(";")[0].strip()
    if kind == "application/json":
        image, options, field = await _from_json(context)
    elif kind == "multipart/form-data":
        image, options, field = await _from_form(context)
    else:
        image, options, field = await _from_body(context, kind)
    state = context.state
    model = state.models.resolve("read_text", options.model, context.caller)
    request = ReadTextRequest(image=image, model=model, min_confidence=options.min_confidence)
    with rename_fields(image=field):
        response = await state.clients.vision.ReadText(request)
    return json_response(_answer(response))


async def _from_body(context: HandlerContext, kind: str) -> tuple[Media, ReadOptions, str]:
    query = {key: [value] for key, value in context.request.query_params.items()}
    options = form_struct(query, ReadOptions)
    data = await read(context.request, context.state.settings.max_image_bytes, "body")
    return await _carried(context, data, kind, "body"), options, "body"


async def _from_form(context: HandlerContext) -> tuple[Media, ReadOptions, str]:
    async def take(part: Part) -> tuple[bytes, str]:
        return b"".join([piece async for piece in part]), part.mime_type

    options, file = await read_form(context.request, context.state.settings.max_image_bytes, ReadOptions, take)
    return await _carried(context, *file, "file"), options, "file"


async def _from_json(context: HandlerContext) -> tuple[Media, ReadOptions, str]:
    settings = context.state.settings
    body = await read_json(
        context.request, ReadRequest, settings.max_image_bytes * 4 // 3 + settings.max_json_body_bytes
    )
    source = parse_media_source(body.image_url, "image_url")
    image = await context.state.media_resolver.resolve(
        source, context.caller.tenant, settings.max_image_bytes, "image_url"
    )
    return image, ReadOptions(model=body.model, min_confidence=body.min_confidence), "image_url"


async def _carried(context: HandlerContext, image: bytes, mime_type: str, field: str) -> Media:
    if not image:
        raise InvalidArgument("the image is empty", field=field)
    limit = context.state.settings.max_image_bytes
    return await context.state.media_resolver.to_media(image, mime_type, context.caller.tenant, limit, field)


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
