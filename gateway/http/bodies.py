"""JSON bodies, read up to a limit."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import TypeVar

import msgspec
import numpy as np

from gateway.chunks import chain, pieces
from gateway.http.large_json import LargeJson
from gateway.http.request_body import RequestBody
from gateway.schemas.media_text import MediaText
from servekit.echo import cut
from servekit.errors import InvalidArgument, TooLarge

Body = TypeVar("Body")

DECODED_WHOLE_BYTES = 1 << 20  # of a body, which takes at most 20 ms to decode
MAX_NESTED = 100_000  # arrays and objects of such a body
_PATH = re.compile(r" - at `(?P<key>key` in `)?\$\.?(?P<path>[^`]*)`$")
LANGUAGE_RULE = "a language must be an ISO 639 code of two or three lower-case letters, such as en"
_JSON_NAMES = {list: "array", dict: "object", type(None): "null"}
_NAMED = re.compile(r"field `(?P<name>[^`]+)`")
_QUOTED = re.compile(r"'([^']*)'")
_TEXT_ENDS = 500  # characters at each end of msgspec's text, whose middle is a value or a key of the caller


def decode(data: bytes | bytearray, kind: type[Body], media: dict[str, MediaText] | None = None) -> Body:
    """JSON as a struct.

    Args:
        data: The JSON.
        kind: The type of the struct.
        media: Media by the texts that stand for them; those that are used are removed.

    Raises:
        InvalidArgument: The body is not JSON, or a field is missing, unknown or invalid; the error names the field.
    """

    def media_text(_: type[MediaText], value: object) -> MediaText:
        if not isinstance(value, str):
            raise ValueError(f"Expected `str`, got `{_JSON_NAMES.get(type(value), type(value).__name__)}`")
        return (media.pop(value, None) if media else None) or MediaText(value)

    try:
        return msgspec.json.decode(data, type=kind, dec_hook=media_text)
    except msgspec.ValidationError as error:
        raise validation_error(error) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidArgument(f"invalid JSON: {error}", field="body") from error


async def read_json(body: RequestBody, kind: type[Body], limit: int) -> Body:
    """A JSON body as a struct. The media of one above `DECODED_WHOLE_BYTES` are decoded piece by piece.

    Raises:
        ServeError: The body cannot be received, as `RequestBody.stream` says.
        TooLarge: The body has too many bytes besides media, or too many values.
        InvalidArgument: The body is not JSON, or a field is missing, unknown or invalid; the error names the field.
    """
    chunks = body.stream(limit, keeps=True)
    head: list[bytes] = []
    size = 0
    async for chunk in chunks:
        head.append(chunk)
        size += len(chunk)
        if size > DECODED_WHOLE_BYTES:
            return await _read_large(chain(head, chunks), kind)
    data = head[0] if len(head) == 1 else b"".join(head)
    if size > MAX_NESTED:
        _check_nested(data)
    return decode(data, kind)


async def _read_large(chunks: AsyncIterator[bytes], kind: type[Body]) -> Body:
    large = LargeJson()
    async for piece in pieces(chunks):
        large.feed(piece)
    large.end()
    decoded = decode(large.rest, kind, large.media)
    large.check_all_used()
    await asyncio.sleep(0)
    return decoded


def _check_nested(data: bytes) -> None:
    """Refuse a small body of more arrays and objects than can be decoded in 20 ms; other values take less time."""
    array = np.frombuffer(data, np.uint8)
    count = sum(int(np.count_nonzero(array == bracket)) for bracket in b"[{")  # `bytes.count` takes four times as long
    if count > MAX_NESTED:
        raise TooLarge(f"the body must have at most {MAX_NESTED} arrays and objects, got {count}", field="body")


def validation_error(error: msgspec.ValidationError) -> InvalidArgument:
    """The error of msgspec, which says what a field must be, with the path of the field."""
    text = str(error)
    if len(text) > 2 * _TEXT_ENDS:
        text = f"{text[:_TEXT_ENDS]}…{text[-_TEXT_ENDS:]}"
    text = _QUOTED.sub(lambda quoted: f"'{cut(quoted[1])}'", text)
    at, named = _PATH.search(text), _NAMED.search(text)
    field = at["path"] if at else ""
    message = _PATH.sub("", text)
    if named:  # a missing or an unknown field
        field = f"{field}.{cut(named['name'])}".lstrip(".")
        message = f"{field} is required" if "required" in text else f"no field {field}"
    elif "[a-z]{2,3}" in text:
        message = LANGUAGE_RULE  # rather than its pattern
    elif message.startswith("Expected "):
        subject = f"a key of {field}" if at and at["key"] else field or "the body"
        message = f"{subject} must be {message.removeprefix('Expected ').replace('`', '')}"
    elif field:
        message = f"{field}: {message[0].lower()}{message[1:]}"
    return InvalidArgument(message, field=field or "body")
