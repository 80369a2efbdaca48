"""Failures in OpenAI's shape: `{"error": {"message", "type", "param", "code"}}`."""

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import msgspec
from starlette.responses import Response

from servekit.rpc.errors import ServeError, reason

# What OpenAI's own clients look for in `type`, by the HTTP status of servekit.rpc.errors.
_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_RETRYABLE = (429, 503)
_INDEX = re.compile(r"\[\d+\]")


class ErrorBody(msgspec.Struct):
    """What went wrong.

    Attributes:
        message: For the caller to read.
        type: The family, as OpenAI names it.
        param: The request field at fault, such as `messages[0].role`.
        code: The exact error, such as `too_large`.
    """

    message: str
    type: str
    param: str | None
    code: str


class ErrorAnswer(msgspec.Struct):
    """The body of every answer that is not a success."""

    error: ErrorBody


def error_answer(error: ServeError) -> ErrorAnswer:
    """The error as a body."""
    family = _TYPES.get(error.http, "server_error" if error.http >= 500 else "invalid_request_error")
    return ErrorAnswer(ErrorBody(error.message, family, error.field or None, reason(error).lower()))


def error_headers(error: ServeError) -> dict[str, str]:
    """`Retry-After` where trying again is right: in whole seconds, and in milliseconds as OpenAI's clients read it."""
    if error.http not in _RETRYABLE:
        return {}
    seconds = 1.0 if error.retry_after is None else error.retry_after
    return {"retry-after": str(math.ceil(seconds)), "retry-after-ms": str(math.ceil(seconds * 1000))}


def error_response(error: ServeError) -> Response:
    """The error as an HTTP response."""
    body = msgspec.json.encode(error_answer(error))
    return Response(body, error.http, error_headers(error), "application/json")


@contextmanager
def renaming(**names: str) -> Iterator[None]:
    """What a service says of a field of its request is said of the caller's field.

    Args:
        names: The caller's fields, by the service's without indices: `audio`, `clips.label`. What is below a field
            goes by its name, too. `[]` in the caller's stands for the index in the service's, if there is one.
    """
    try:
        yield
    except ServeError as error:
        error.field = _renamed(error.field, names)
        raise


def _renamed(field: str, names: Mapping[str, str]) -> str:
    path = _INDEX.sub("", field)
    while path and path not in names:
        path = path.rpartition(".")[0]
    index = _INDEX.search(field)
    return names[path].replace("[]", index[0] if index else "") if path else field
