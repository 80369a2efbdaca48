"""Metadata and filters of the contract as JSON values, and what a text may hold."""

from typing import Any

from google.protobuf import json_format, struct_pb2

from servekit.errors import InvalidArgument


def checked_text(text: str, field: str) -> str:
    """Return a text that every store can hold.

    Raises:
        InvalidArgument: The text holds U+0000.
    """
    if "\0" in text:
        raise InvalidArgument("a text must not contain the character U+0000", field=field)
    return text


def parse_metadata(metadata: struct_pb2.Struct, field: str) -> dict[str, Any]:
    """Metadata or a filter as a JSON object.

    Raises:
        InvalidArgument: A number is not finite, or a text holds U+0000.
    """
    try:
        values: dict[str, Any] = json_format.MessageToDict(metadata)
    except (json_format.SerializeToJsonError, ValueError) as error:
        raise InvalidArgument("every number must be finite", field=field) from error
    for text in _texts(values):
        checked_text(text, field)
    return values


def _texts(value: object) -> list[str]:
    """Every text in a JSON value, its keys included."""
    match value:
        case str():
            return [value]
        case dict():
            return [text for pair in value.items() for part in pair for text in _texts(part)]
        case list():
            return [text for part in value for text in _texts(part)]
        case _:
            return []
