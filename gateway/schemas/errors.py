"""Errors in OpenAI's shape: `{"error": {"message", "type", "param", "code"}}`."""

from msgspec import Struct


class ErrorBody(Struct):
    """One error.

    Attributes:
        message: An explanation for people.
        type: The error family, in OpenAI's words.
        param: The request field that caused it, such as `messages[0].role`.
        code: The machine-readable code, such as `too_large`.
    """

    message: str
    type: str
    param: str | None
    code: str


class ErrorAnswer(Struct):
    """The body of every response that is not a success."""

    error: ErrorBody
