"""A `ServeError` as an HTTP response in OpenAI's shape."""

import math

import msgspec
from starlette.responses import Response

from gateway.schemas.errors import ErrorAnswer, ErrorBody
from servekit.errors import ServeError, reason

# What OpenAI's own clients look for in `type`, by the HTTP status of servekit.errors.
_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_RETRYABLE = (429, 503)


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
