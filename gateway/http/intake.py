"""Files that come in a form: small ones travel in the message, large ones by the object store."""

from collections.abc import AsyncIterator, Sequence

from polyphony.type.v1.media_pb2 import Media

from gateway.http.endpoint import HandlerContext
from gateway.http.forms import FIELD_BYTES, Body, Part, read_form
from gateway.media.resolver import TRANSIENT_TTL_SECONDS
from servekit.rpc.errors import InvalidArgument


async def audio_form(
    context: HandlerContext, kind: type[Body], lists: Sequence[str] = (), field_bytes: int = FIELD_BYTES
) -> tuple[Body, Media]:
    """A form's small fields as a struct, and its recording as a medium; `lists` and `field_bytes` as for `read_form`.

    Raises:
        InvalidArgument: The file is empty, or as `read_form` says.
        TooLarge: As `read_form` says.
    """
    limit = context.state.settings.max_audio_bytes
    return await read_form(context.request, limit, kind, lambda part: _upload(context, part), lists, field_bytes)


async def _upload(context: HandlerContext, part: Part) -> Media:
    """A form's file as a medium: in the message if it is small, else by reference."""
    state = context.state
    start, pieces = bytearray(), aiter(part)
    async for piece in pieces:
        start += piece
        if len(start) > state.settings.max_inline_media_bytes:
            store, tenant = state.store, context.caller.tenant
            reference = await store.put(tenant, _joined(bytes(start), pieces), part.mime_type, TRANSIENT_TTL_SECONDS)
            return Media(mime_type=part.mime_type, reference=reference)
    if not start:
        raise InvalidArgument("the file is empty", field=part.name)
    return Media(mime_type=part.mime_type, inline=bytes(start))


async def _joined(start: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield start
    async for piece in rest:
        yield piece
