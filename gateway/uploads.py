"""Files that come in a form: small ones travel in the message, large ones by the object store."""

from collections.abc import AsyncIterator

from polyphony.type.v1.media_pb2 import Media

from gateway.endpoint import Context
from gateway.forms import Part
from gateway.media import PASSING_SECONDS
from servekit.errors import InvalidArgument


async def upload(context: Context, part: Part) -> Media:
    """A form's file as a medium: in the message if it is small, else by reference.

    Raises:
        InvalidArgument: It is empty.
    """
    parts = context.parts
    start, pieces = bytearray(), aiter(part)
    async for piece in pieces:
        start += piece
        if len(start) > parts.settings.inline_bytes:
            store, tenant = parts.store, context.caller.tenant
            reference = await store.put(tenant, _joined(bytes(start), pieces), part.mime_type, PASSING_SECONDS)
            return Media(mime_type=part.mime_type, reference=reference)
    if not start:
        raise InvalidArgument("the file is empty", field=part.name)
    return Media(mime_type=part.mime_type, inline=bytes(start))


async def _joined(start: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield start
    async for piece in rest:
        yield piece
