"""The OpenAPI 3.1 document, generated from the operations that make the routes."""

import inspect
import re
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import msgspec

from gateway.http.endpoint import Operation
from gateway.http.pages import PARAMETERS
from gateway.schemas.errors import ErrorAnswer
from gateway.schemas.media_text import MediaText

_NAME = re.compile(r"{(\w+)}")


def document(operations: Sequence[Operation]) -> dict[str, Any]:
    """The document that describes `operations`."""
    kinds = [kind for row in operations for kind in (row.body, row.form, row.answer) if kind is not None]
    schemas, components = msgspec.json.schema_components(
        [*kinds, ErrorAnswer], schema_hook=_schema, ref_template="#/components/schemas/{name}"
    )
    by_kind = dict(zip([*map(repr, kinds), "error"], schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for row in operations:
        paths.setdefault(row.path, {})[row.method.lower()] = _operation(row, by_kind)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Polyphony",
            "version": version("polyphony"),
            "description": "One front door to many models.",
        },
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}},
    }


def _schema(_: type[MediaText]) -> dict[str, Any]:
    """The schema of the only type that is not msgspec's own."""
    return {"type": "string"}


def _operation(row: Operation, schemas: dict[str, Any]) -> dict[str, Any]:
    failure = {"description": "The error", "content": _json(schemas["error"])}
    success: dict[str, Any] = {"description": "Success"}
    if row.answer is not None:
        success["content"] = _json(schemas[repr(row.answer)])
    elif row.answer_type:
        success["content"] = {row.answer_type: {}}
    described: dict[str, Any] = {
        "summary": row.summary,
        "description": inspect.getdoc(row.handler) or row.summary,
        "operationId": row.id,
        "tags": [row.path.removeprefix("/v1/").strip("/").partition("/")[0]],
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in _NAME.findall(row.path)
        ]
        + (PARAMETERS if row.pages else []),
        "responses": {"200": success, "default": failure},
        "security": [] if row.is_open else [{"key": []}],
    }
    if content := _content(row, schemas):
        described["requestBody"] = {"required": True, "content": content}
    return described


def _content(row: Operation, schemas: dict[str, Any]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    if row.body is not None:
        content |= _json(schemas[repr(row.body)])
    if row.form is not None:
        file = {"type": "object", "required": ["file"], "properties": {"file": {"type": "string", "format": "binary"}}}
        content["multipart/form-data"] = {"schema": {"allOf": [file, schemas[repr(row.form)]]}}
    if row.raw:
        content[row.raw] = {"schema": {"type": "string", "format": "binary"}}
    return content


def _json(schema: Any) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}
