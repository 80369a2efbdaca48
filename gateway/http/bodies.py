"""Request bodies, raw or JSON, read up to a limit."""

import re
from collections.abc import AsyncIterator
from typing import TypeVar

import msgspec
from starlette.requests import Request

from servekit.echo import cut
from servekit.errors import InvalidArgument, TooLarge

Body = TypeVar("Body")

_PATH = re.compile(r" - at `(?:key in )?\$\.?(?P<path>[^`]*)`$")
LANGUAGE_RULE = "a language must be an ISO 639 code of two or three lower-case letters, such as en"
_NAMED = re.compile(r"field `(?P<name>[^`]+)`")
_QUOTED = re.compile(r"'([^']*)'")
_TEXT_ENDS = 500  # characters at each end of msgspec's text, whose middle is a value or a key of the caller


async def stream(request: Request, limit: int, field: str = "") -> AsyncIterator[bytes]:
    """The chunks of the body.

    Args:
        limit: The most bytes that the body may have.
        field: The field that the error names.

    Raises:
        TooLarge: The body has more than `limit` bytes, or its content-length says so.
    """
    error = TooLarge(f"the body must have at most {limit} bytes", field=field)
    stated = request.headers.get("content-length", "")
    if stated.isdigit() and int(stated) > limit:
        raise error
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise error
        if chunk:
            yield chunk


async def read(request: Request, limit: int, field: str = "") -> bytes:
    """The whole body.

    Raises:
        TooLarge: The body has more than `limit` bytes.
    """
    chunks = [chunk async for chunk in stream(request, limit, field)]
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def decode(data: bytes, kind: type[Body]) -> Body:
    """JSON as a struct.

    Raises:
        InvalidArgument: The body is not JSON, or a field is missing, unknown or invalid; the error names the field.
    """
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError as error:
        raise validation_error(error) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidArgument(f"invalid JSON: {error}", field="body") from error


async def read_json(request: Request, kind: type[Body], limit: int) -> Body:
    """A JSON body as a struct.

    Raises:
        TooLarge: The body has more than `limit` bytes.
        InvalidArgument: The body is not JSON, or a field is missing, unknown or invalid; the error names the field.
    """
    return decode(await read(request, limit), kind)


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
        message = f"{field or 'the body'} must be {message.removeprefix('Expected ').replace('`', '')}"
    elif field:
        message = f"{field}: {message[0].lower()}{message[1:]}"
    return InvalidArgument(message, field=field or "body")
