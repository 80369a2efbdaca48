"""Request bodies, read within a bound and never beyond it."""

import re
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import msgspec
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from servekit.errors import InvalidArgument, TooLarge

Body = TypeVar("Body")

_PATH = re.compile(r" - at `(?:key in )?\$\.?(?P<path>[^`]*)`$")
_NAMED = re.compile(r"field `(?P<name>[^`]+)`")
FIELD_BYTES = 64 * 1024


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
        raise _invalid(str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidArgument(f"the body is not JSON: {error}", field="body") from error


async def read_json(request: Request, kind: type[Body], limit: int) -> Body:
    """The body, which is JSON, as a struct.

    Raises:
        TooLarge: It has more than `limit` bytes.
        InvalidArgument: Not JSON, or a field is missing, unknown or wrong; it is named.
    """
    return decode(await read(request, limit), kind)


def _invalid(text: str) -> InvalidArgument:
    """What msgspec says, with its path as the field."""
    at, named = _PATH.search(text), _NAMED.search(text)
    path = at["path"] if at else ""
    if named and ("required" in text or "unknown" in text):
        path = f"{path}.{named['name']}".lstrip(".")
    return InvalidArgument(_PATH.sub("", text), field=path or "body")


@dataclass(slots=True)
class _Headers:
    values: dict[str, str]


class Part:
    """One part of a form.

    Attributes:
        name: The form field.
        filename: The file's name; empty where the part is no file.
        mime_type: What the sender says it is; empty if nothing.
    """

    def __init__(self, form: "Form", headers: dict[str, str]) -> None:
        _, options = parse_options_header(headers.get("content-disposition", ""))
        self.name = options.get(b"name", b"").decode(errors="replace")
        self.filename = options.get(b"filename", b"").decode(errors="replace")
        self.mime_type = headers.get("content-type", "").partition(";")[0].strip()
        self._form = form

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while isinstance(event := await self._form.next_event(), bytes):
            yield event

    async def text(self) -> str:
        """The value of a small field.

        Raises:
            TooLarge: It has more than 64 KiB.
            InvalidArgument: It is not UTF-8.
        """
        value = b""
        async for piece in self:
            value += piece
            if len(value) > FIELD_BYTES:
                raise TooLarge(f"{self.name} is larger than {FIELD_BYTES} bytes", field=self.name)
        try:
            return value.decode()
        except UnicodeDecodeError as error:
            raise InvalidArgument(f"{self.name} is not UTF-8", field=self.name) from error


class Form:
    """A `multipart/form-data` body, read part by part as it arrives. Every part must be read to its end.

    Args:
        request: Its request.
        limit: How many bytes the body may have.

    Raises:
        InvalidArgument: The body is no form.
    """

    def __init__(self, request: Request, limit: int) -> None:
        kind, options = parse_options_header(request.headers.get("content-type", ""))
        if kind != b"multipart/form-data" or not options.get(b"boundary"):
            raise InvalidArgument("the body has to be multipart/form-data", field="body")
        self._pieces = stream(request, limit, "file")
        self._events: deque[_Headers | bytes | None] = deque()
        self._name = self._value = b""
        self._headers: dict[str, str] = {}
        self._ended = False
        callbacks = {
            "on_part_begin": self._begin,
            "on_header_field": self._field,
            "on_header_value": self._of_value,
            "on_header_end": self._header,
            "on_headers_finished": lambda: self._events.append(_Headers(self._headers)),
            "on_part_data": lambda data, start, end: self._events.append(bytes(data[start:end])),
            "on_part_end": lambda: self._events.append(None),
            "on_end": self._end,
        }
        try:
            self._parser = MultipartParser(options[b"boundary"], callbacks)  # type: ignore[arg-type]
        except ValueError as error:
            raise InvalidArgument(f"the form's boundary cannot be used: {error}", field="body") from error

    async def __aiter__(self) -> AsyncIterator[Part]:
        while (event := await self.next_event()) is not StopAsyncIteration:
            if isinstance(event, _Headers):
                yield Part(self, event.values)

    async def next_event(self) -> object:
        """Headers, bytes, None at the end of a part, StopAsyncIteration at the end of all."""
        while not self._events:
            try:
                self._parser.write(await anext(self._pieces))
            except StopAsyncIteration:
                if not self._ended:
                    raise InvalidArgument("the form ends in the middle of a part", field="body") from None
                return StopAsyncIteration
            except MultipartParseError as error:
                raise InvalidArgument(f"the form cannot be read: {error}", field="body") from error
        return self._events.popleft()

    def _begin(self) -> None:
        self._headers = {}

    def _field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _of_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header(self) -> None:
        self._headers[self._name.decode("latin-1").lower()] = self._value.decode("latin-1")
        self._name = self._value = b""

    def _end(self) -> None:
        self._ended = True


def form_struct(fields: dict[str, list[str]], kind: type[Body], lists: Sequence[str] = ()) -> Body:
    """A form's small fields as a struct; numbers and booleans are read from their text.

    Args:
        fields: The values by name; `name[]` is the same as `name`.
        lists: The fields that may have several values.

    Raises:
        InvalidArgument: A field is missing, unknown or wrong; it is named.
    """
    plain: dict[str, object] = {}
    for key, values in fields.items():
        name = key.removesuffix("[]")
        plain[name] = values if name in lists else values[-1]
    try:
        return msgspec.convert(plain, kind, strict=False)
    except msgspec.ValidationError as error:
        raise _invalid(str(error)) from error
