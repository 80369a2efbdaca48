"""The error of a call, and how it is read from a response."""

from typing import Any

import httpx


class GatewayError(Exception):
    """A call failed; the text says why.

    Attributes:
        status_code: The HTTP status of the response; 0 where there was none.
    """

    def __init__(self, message: str, status_code: int = 0) -> None:
        super().__init__(message)
        self.status_code = status_code


def value_at(answer: Any, *path: str | int) -> Any:
    """The value at a path of a JSON answer.

    Raises:
        GatewayError: The answer has no such path.
    """
    value = answer
    try:
        for step in path:
            value = value[step]
    except (LookupError, TypeError) as error:
        raise GatewayError(f"the answer has no {'.'.join(map(str, path))}") from error
    return value


def error_of(response: httpx.Response) -> GatewayError:
    """The error of an unsuccessful response, whose body must have been read."""
    try:
        error = response.json()["error"]
        param = f" ({error['param']})" if error.get("param") else ""
        return GatewayError(f"{response.status_code}: {error['message']}{param}", response.status_code)
    except (ValueError, LookupError, TypeError, AttributeError):
        return GatewayError(f"{response.status_code}: {response.reason_phrase}", response.status_code)
