"""JSON Schemas that callers send: parsed within bounds."""

import json
from typing import Any

from polyphony.type.v1.text_format_pb2 import TextFormat

from servekit.errors import InvalidArgument, TooLarge

ANY_OBJECT = {"type": "object"}


def schema_of(
    text_format: TextFormat, *, max_bytes: int, max_depth: int, field: str = "format"
) -> dict[str, Any] | None:
    """The JSON Schema that a format asks for; None for free text.

    Raises:
        InvalidArgument, TooLarge: As `parse_schema` raises them.
    """
    match text_format.WhichOneof("constraint"):
        case "json_object":
            return ANY_OBJECT
        case "json_schema":
            return parse_schema(
                text_format.json_schema, max_bytes=max_bytes, max_depth=max_depth, field=f"{field}.json_schema"
            )
    return None


def parse_schema(text: str, *, max_bytes: int, max_depth: int, field: str = "format.json_schema") -> dict[str, Any]:
    """Parse a JSON Schema.

    Args:
        text: The schema as JSON.
        max_bytes: Its greatest length in UTF-8.
        max_depth: Its greatest nesting.
        field: The request field to name in errors.

    Raises:
        InvalidArgument: The text is not a JSON object.
        TooLarge: The schema is longer or deeper than its bounds.
    """
    size = len(text.encode())
    if size > max_bytes:
        raise TooLarge(f"the schema must have at most {max_bytes} bytes, got {size}", field=field)
    try:
        schema = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"the schema must be JSON: {error}", field=field) from error
    if not isinstance(schema, dict):
        raise InvalidArgument("the schema must be a JSON object", field=field)
    level, depth = [schema], 0
    while level := [child for node in level for child in _children(node)]:
        depth += 1
        if depth > max_depth:
            raise TooLarge(f"the schema must be nested at most {max_depth} levels deep", field=field)
    return schema


def _children(node: Any) -> list[Any]:
    match node:
        case dict():
            return list(node.values())
        case list():
            return node
    return []


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")
