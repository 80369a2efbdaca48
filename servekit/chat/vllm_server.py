"""A vLLM server of any kind of model, reached over its OpenAI-compatible HTTP interface."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx

from servekit.echo import cut
from servekit.errors import EngineCrashed, Internal, InvalidArgument, Overloaded

# The longest pause in the answer of a live server: it processes a prompt, or clones a voice, behind a batch.
READ_TIMEOUT_SECONDS = 60.0
CONNECT_TIMEOUT_SECONDS = 2.0


class VllmServer:
    """A vLLM server, of any kind of model.

    Every method raises `EngineCrashed` if the server does not answer, `Overloaded` if it is full, `InvalidArgument` if
    it refuses the request, and `Internal` if it fails.

    Args:
        url: The URL of the server.
        name: The name of the server in error messages.
        refusal: The message of the error for a refused request.
        field: The caller's request field that is at fault for a refused request.
    """

    def __init__(self, url: str, name: str, *, refusal: str, field: str) -> None:
        self._client = httpx.Client(
            base_url=url, timeout=httpx.Timeout(READ_TIMEOUT_SECONDS, connect=CONNECT_TIMEOUT_SECONDS)
        )
        self._name = name
        self._refusal, self._field = refusal, field

    def warm(self) -> None:
        """Check that the server is healthy."""
        with self._connection_errors():
            self._check(self._client.get("/health"))

    def ask(self, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Send a JSON request; returns the JSON answer."""
        with self._connection_errors():
            response = self._client.post(path, json=body)
            self._check(response)
        answer: Mapping[str, Any] = response.json()
        return answer

    @contextmanager
    def stream(self, path: str, body: Mapping[str, Any]) -> Iterator[httpx.Response]:
        """Send a JSON request and stream the answer; leaving the context makes the server stop."""
        with self._connection_errors(), self._client.stream("POST", path, json=body) as response:
            if response.is_error:
                response.read()
            self._check(response)
            yield response

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    @contextmanager
    def _connection_errors(self) -> Iterator[None]:
        try:
            yield
        except httpx.TransportError as error:
            raise EngineCrashed(f"{self._name} does not answer", retry_after=1.0) from error

    def _check(self, response: httpx.Response) -> None:
        if not response.is_error:
            return
        match response.status_code:
            case 400 | 422:
                raise InvalidArgument(f"{self._refusal}: {cut(response.text, 500)}", field=self._field)
            case 429:
                raise Overloaded(f"{self._name} is full", retry_after=1.0)
            case 502 | 503 | 504:
                raise EngineCrashed(f"{self._name} is not ready", retry_after=1.0)
        raise Internal(f"{self._name} answered {response.status_code}")  # its text may quote the prompt
