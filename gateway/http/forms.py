"""Multipart request bodies: a file, read piece by piece, and small form fields."""

import re
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import msgspec
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from gateway.chunks import pieces
from gateway.http.bodies import validation_error
from gateway.http.endpoint import HandlerContext
from servekit.echo import cut
from servekit.errors import InvalidArgument, TooLarge

Body = TypeVar("Body")
Taken = TypeVar("Taken")

FIELD_BYTES = 64 * 1024
MAX_PARTS = 64
MANY_FIELDS = 8
PART_HEADER_BYTES = 4096  # of one header of a part
_KEYED = re.compile(r"(\w+)\[(\w+)\]")


@dataclass(slots=True)
class _Headers:
    values: dict[str, str]


class Part:
    """One part of a form.

    Attributes:
        name: The form field.
        filename: The file's name; empty where the part is a field.
        mime_type: The content type that the sender states; empty without one.
    """

    def __init__(self, form: "Form", headers: dict[str, str]) -> None:
        _, options = parse_options_header(headers.get("content-disposition", ""))
        self.name = cut(options.get(b"name", b"").decode(errors="replace"))
        self.filename = options.get(b"filename", b"").decode(errors="replace")
        self.mime_type = headers.get("content-type", "").partition(";")[0].strip()
        self._form = form

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while isinstance(event := await self._form.next_event(), bytes):
            yield event

    async def text(self, limit: int = FIELD_BYTES) -> str:
        """The value of a small field.

        Raises:
            TooLarge: The value has more than `limit` bytes.
            InvalidArgument: The value is not UTF-8.
        """
        value = bytearray()
        async for chunk in self:
            value += chunk
            if len(value) > limit:
                raise TooLarge(f"{self.name} must have at most {limit} bytes", field=self.name)
        try:
            return value.decode()
        except UnicodeDecodeError as error:
            raise InvalidArgument(f"{self.name} must be UTF-8", field=self.name) from error


class Form:
    """A `multipart/form-data` body, read part by part. Every part must be read to its end.

    Args:
        context: The context of the request.
        limit: The most bytes that the body may have.

    Raises:
        InvalidArgument: The body is not a form.
    """

    def __init__(self, context: HandlerContext, limit: int) -> None:
        kind, options = parse_options_header(context.request.headers.get("content-type", ""))
        if kind != b"multipart/form-data" or not options.get(b"boundary"):
            raise InvalidArgument("the body must be multipart/form-data", field="body")
        self._pieces = pieces(context.body.stream(limit, "file"))
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
            raise InvalidArgument(f"invalid form boundary: {error}", field="body") from error

    async def __aiter__(self) -> AsyncIterator[Part]:
        while (event := await self.next_event()) is not StopAsyncIteration:
            if isinstance(event, _Headers):
                yield Part(self, event.values)

    async def next_event(self) -> object:
        """Headers, bytes, None at the end of a part, or StopAsyncIteration at the end of the form."""
        while not self._events:
            try:
                self._parser.write(await anext(self._pieces))
            except StopAsyncIteration:
                if not self._ended:
                    raise InvalidArgument("the form ends within a part", field="body") from None
                return StopAsyncIteration
            except MultipartParseError as error:
                raise InvalidArgument(f"invalid form: {error}", field="body") from error
        return self._events.popleft()

    def _begin(self) -> None:
        self._headers = {}

    def _field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]
        self._check_header(self._name)

    def _of_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]
        self._check_header(self._value)

    @staticmethod
    def _check_header(text: bytes) -> None:
        if len(text) > PART_HEADER_BYTES:
            raise TooLarge(f"a header of a part must have at most {PART_HEADER_BYTES} bytes", field="body")

    def _header(self) -> None:
        self._headers[self._name.decode("latin-1").lower()] = self._value.decode("latin-1")
        self._name = self._value = b""

    def _end(self) -> None:
        self._ended = True


def form_struct(fields: dict[str, list[str]], kind: type[Body], lists: Sequence[str] = ()) -> Body:
    """A form's small fields as a struct; numbers and booleans are read from their text.

    Args:
        fields: The values by name; `name[]` is the same as `name`, `name[key]` is `key` of the object `name`.
        lists: The fields that may have several values.

    Raises:
        InvalidArgument: A field is missing, unknown or invalid; the error names it.
    """
    plain: dict[str, object] = {}
    for key, values in fields.items():
        if keyed := _KEYED.fullmatch(key):
            inner = plain.setdefault(keyed[1], {})
            if not isinstance(inner, dict):
                raise InvalidArgument(f"{keyed[1]} must be either a value or an object", field=keyed[1])
            inner[keyed[2]] = values[-1]
        else:
            name = key.removesuffix("[]")
            plain[name] = values if name in lists else values[-1]
    try:
        return msgspec.convert(plain, kind, strict=False)
    except msgspec.ValidationError as error:
        raise validation_error(error) from error


async def read_form(
    context: HandlerContext,
    limit: int,
    kind: type[Body],
    take: Callable[[Part], Awaitable[Taken]],
    lists: Sequence[str] = (),
    field_bytes: int = FIELD_BYTES,
    max_parts: int = MAX_PARTS,
) -> tuple[Body, Taken]:
    """A form's small fields as a struct, and what `take` returns for its file.

    Args:
        limit: The most bytes that the body may have.
        take: Is called with the file and reads it to its end; several files come one by one.
        lists: The fields that may have several values.
        field_bytes: The most bytes of one field; all fields together may have `MANY_FIELDS` times as many.
        max_parts: The most parts that the body may have.

    Raises:
        InvalidArgument: The body is not a form, it has no file, or a field is missing, unknown or invalid.
        TooLarge: The body or a field is too large, or there are too many parts.
    """
    fields: dict[str, list[str]] = {}
    taken: Taken | None = None
    count, room = 0, MANY_FIELDS * field_bytes
    async for part in Form(context, limit):
        count += 1
        if count > max_parts:
            raise TooLarge(f"the form must have at most {max_parts} parts", field=part.name or "body")
        if part.filename or part.name == "file":
            taken = await take(part)
        else:
            value = await part.text(field_bytes)
            room -= len(value)
            if room < 0:
                raise TooLarge(
                    f"the form's fields must have at most {MANY_FIELDS * field_bytes} bytes", field=part.name
                )
            fields.setdefault(part.name, []).append(value)
    form = form_struct(fields, kind, lists)
    if taken is None:
        raise InvalidArgument("the form must have a file", field="file")
    return form, taken
