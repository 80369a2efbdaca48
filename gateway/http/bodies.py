"""Request bodies, whole or JSON, read within a bound and never beyond it."""

import re
from collections.abc import AsyncIterator
from typing import TypeVar

import msgspec
from starlette.requests import Request

from servekit.rpc.errors import InvalidArgument, TooLarge

Body = TypeVar("Body")

_PATH = re.compile(r" - at `(?:key in )?\$\.?(?P<path>[^`]*)`$")
LANGUAGE_WANTED = "a language is a code of two or three small letters, such as en"
_NAMED = re.compile(r"field `(?P<name>[^`]+)`")


async def stream(request: Request, limit: int, field: str = "") -> AsyncIterator[bytes]:
    """The body, piece by piece.

    Args:
        limit: How many bytes it may have.
        field: What to name where it has more.

    Raises:
        TooLarge: It has more, or says that it will.
    """
    error = TooLarge(f"the body is larger than the {limit} bytes that this route takes", field=field)
    stated = request.headers.get("content-length", "")
    if stated.isdigit() and int(stated) > limit:
        raise error
    size = 0
    async for piece in request.stream():
        size += len(piece)
        if size > limit:
            raise error
        if piece:
            yield piece


async def read(request: Request, limit: int, field: str = "") -> bytes:
    """The whole body.

    Raises:
        TooLarge: It has more than `limit` bytes.
    """
    pieces = [piece async for piece in stream(request, limit, field)]
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def decode(data: bytes, kind: type[Body]) -> Body:
    """JSON as a struct.

    Raises:
        InvalidArgument: Not JSON, or a field is missing, unknown or wrong; it is named.
    """
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError as error:
        raise refusal(error) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidArgument(f"the body is not JSON: {error}", field="body") from error


async def read_json(request: Request, kind: type[Body], limit: int) -> Body:
    """The body, which is JSON, as a struct.

    Raises:
        TooLarge: It has more than `limit` bytes.
        InvalidArgument: Not JSON, or a field is missing, unknown or wrong; it is named.
    """
    return decode(await read(request, limit), kind)


def refusal(error: msgspec.ValidationError) -> InvalidArgument:
    """What msgspec says, with its path as the field."""
    text = str(error)
    at, named = _PATH.search(text), _NAMED.search(text)
    path = at["path"] if at else ""
    if named and ("required" in text or "unknown" in text):
        path = f"{path}.{named['name']}".lstrip(".")
    said = LANGUAGE_WANTED if "[a-z]{2,3}" in text else _PATH.sub("", text)  # its pattern says nothing to a caller
    return InvalidArgument(said, field=path or "body")
