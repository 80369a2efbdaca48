"""Points, names and filters as they travel, checked where they enter."""

import re
from collections.abc import Sequence
from typing import Any

from google.protobuf import json_format, struct_pb2
from polyphony.retrieval.v1 import retrieval_pb2 as pb

from servekit.rpc.errors import InvalidArgument, TooLarge
from services.retrieval.stores.postgres import Point

MAX_ID_CHARACTERS = 256

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


def checked_name(name: str, field: str) -> str:
    """A collection's name.

    Raises:
        InvalidArgument: It cannot be one.
    """
    if not _NAME.fullmatch(name):
        raise InvalidArgument("a collection's name is 1 to 64 letters, digits, _ and -", field=field)
    return name


def checked_text(text: str, field: str) -> str:
    """A text that Postgres can keep.

    Raises:
        InvalidArgument: It has a zero character.
    """
    if "\0" in text:
        raise InvalidArgument("a text has no zero characters", field=field)
    return text


def fields_of(metadata: struct_pb2.Struct, field: str) -> dict[str, Any]:
    """Metadata or a filter as what JSON has.

    Raises:
        InvalidArgument: A number is not finite, or a text has a zero character.
    """
    try:
        values: dict[str, Any] = json_format.MessageToDict(metadata)
    except (json_format.SerializeToJsonError, ValueError) as error:
        raise InvalidArgument("every number is finite", field=field) from error
    for text in _texts(values):
        checked_text(text, field)
    return values


def points_of(messages: Sequence[pb.Point]) -> list[Point]:
    """The points of a request.

    Raises:
        InvalidArgument: An id comes twice, or a value cannot be kept.
        TooLarge: An id is too long.
    """
    points: dict[str, Point] = {}
    for index, point in enumerate(messages):
        field = f"points[{index}]"
        if len(point.id) > MAX_ID_CHARACTERS:
            raise TooLarge(f"an id has at most {MAX_ID_CHARACTERS} characters", field=f"{field}.id")
        if point.id in points:
            raise InvalidArgument(f"the id {point.id!r} comes twice", field=f"{field}.id")
        points[point.id] = Point(
            checked_text(point.id, f"{field}.id"),
            checked_text(point.text, f"{field}.text"),
            fields_of(point.metadata, f"{field}.metadata"),
        )
    return list(points.values())


def message(point: Point) -> pb.Point:
    """A point as a message, without its vector."""
    made = pb.Point(id=point.id, text=point.text)
    if point.metadata:
        made.metadata.update(point.metadata)
    return made


def _texts(value: object) -> list[str]:
    """Every text in a JSON value, keys too."""
    match value:
        case str():
            return [value]
        case dict():
            return [text for pair in value.items() for part in pair for text in _texts(part)]
        case list():
            return [text for part in value for text in _texts(part)]
        case _:
            return []
