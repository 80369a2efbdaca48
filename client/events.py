"""Server-sent events, as the gateway streams them: one JSON object each, then `[DONE]`."""

import json
from typing import Any

from client.errors import GatewayError

PREFIX = "data: "


def parse_event(line: str) -> dict[str, Any] | None:
    """The event of one line; None for comments, blank lines and `[DONE]`.

    Raises:
        GatewayError: The event is an error.
    """
    if not line.startswith(PREFIX) or line == f"{PREFIX}[DONE]":
        return None
    event: dict[str, Any] = json.loads(line.removeprefix(PREFIX))
    if error := event.get("error"):
        raise GatewayError(f"the stream failed: {error['message']}")
    return event
