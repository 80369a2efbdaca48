"""The same calls for threads, without an overall deadline and without a retry."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from client.errors import error_of
from client.events import parse_event


class BlockingConnection:
    """One gateway. Use it as a context; several threads may share it.

    Args:
        url: The gateway's URL.
        timeout: Seconds without a byte, after which a call fails.
    """

    def __init__(self, url: str, timeout: float = 120.0) -> None:
        self._http = httpx.Client(base_url=url, timeout=timeout)

    def __enter__(self) -> "BlockingConnection":
        return self

    def __exit__(self, *unused: object) -> None:
        self._http.close()

    @contextmanager
    def stream(self, method: str, path: str, **options: Any) -> Iterator[httpx.Response]:
        """The response to a call, its body not read yet.

        Raises:
            GatewayError: The call is refused.
        """
        with self._http.stream(method, path, **options) as response:
            if not response.is_success:
                response.read()
                raise error_of(response)
            yield response

    def send(self, method: str, path: str, **options: Any) -> httpx.Response:
        """The response to a call, with its body; raises as `stream` does."""
        with self.stream(method, path, **options) as response:
            response.read()
            return response

    def events(self, method: str, path: str, **options: Any) -> Iterator[dict[str, Any]]:
        """The server-sent events of a call, as they come; an event that is an error is raised."""
        with self.stream(method, path, **options) as response:
            for line in response.iter_lines():
                if event := parse_event(line):
                    yield event
