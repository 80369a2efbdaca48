"""The media of a request: the raw body, the file of a form, or a data URL, a URL or a file id within JSON."""

from collections.abc import Sequence

from polyphony.type.v1.media_pb2 import Media

from gateway.http.bodies import read_json
from gateway.http.endpoint import HandlerContext
from gateway.http.forms import FIELD_BYTES, Body, Part, form_struct, read_form
from gateway.media.resolver import parse_media_source


async def audio_form(
    context: HandlerContext, kind: type[Body], lists: Sequence[str] = (), field_bytes: int = FIELD_BYTES
) -> tuple[Body, Media]:
    """A form's small fields as a struct, and its recording; `lists` and `field_bytes` as for `read_form`.

    Raises:
        InvalidArgument: The file is empty, or as `read_form` says.
        TooLarge: As `read_form` says.
    """
    return await _form(context, kind, context.state.settings.max_audio_bytes, lists, field_bytes)


async def read_media(
    context: HandlerContext, options: type[Body], request: type[Body], source: str, limit: int
) -> tuple[Body, Media, str]:
    """The options of a request, its media, and the field that has the media.

    Args:
        options: The struct of a form's small fields, or of the query of a raw body.
        request: The struct of a JSON body: the options and a field that names the source of the media.
        source: The name of that field.
        limit: The most bytes that the media may have.

    Raises:
        InvalidArgument: There are no media, or a field is missing, unknown or wrong; it is named.
        TooLarge: The media have more than `limit` bytes.
    """
    state, tenant = context.state, context.caller.tenant
    match content_type := context.request.headers.get("content-type", "").partition(";")[0].strip().lower():
        case "multipart/form-data":
            return *await _form(context, options, limit), "file"
        case "application/json":
            body = await read_json(context.body, request, limit * 4 // 3 + state.settings.max_json_body_bytes)
            media_source = parse_media_source(getattr(body, source), source)
            return body, await state.media_resolver.resolve(media_source, tenant, limit, source), source
    query = {key: [value] for key, value in context.request.query_params.items()}
    fields, chunks = form_struct(query, options), context.body.stream(limit, "body")
    return fields, await state.media_resolver.receive(chunks, content_type, tenant, "body"), "body"


async def _form(
    context: HandlerContext,
    kind: type[Body],
    limit: int,
    lists: Sequence[str] = (),
    field_bytes: int = FIELD_BYTES,
) -> tuple[Body, Media]:
    async def take(part: Part) -> Media:
        resolver, tenant = context.state.media_resolver, context.caller.tenant
        return await resolver.receive(aiter(part), part.mime_type, tenant, part.name)

    return await read_form(context, limit, kind, take, lists, field_bytes)
