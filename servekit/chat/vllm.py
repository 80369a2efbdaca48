"""A vLLM server, whatever it serves: requests to it, and what its failures are to a caller."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx

from servekit.rpc.errors import EngineCrashed, Internal, InvalidArgument, Overloaded

STEP_SECONDS = 60.0  # the longest silence of a server that lives: it reads a prompt, or learns a voice, behind a batch
CONNECT_SECONDS = 2.0


class VllmServer:
    """A server, reached over its OpenAI-compatible HTTP interface.

    Every method raises `EngineCrashed` where it does not answer, `Overloaded` where it is full, `InvalidArgument` where
    it cannot do what it is asked for, and `Internal` where it fails.

    Args:
        url: Where it is.
        name: What it is called in messages.
        refusal: What it means that it cannot do what it is asked for.
        field: Which field of the caller's is at fault then.
    """

    def __init__(self, url: str, name: str, *, refusal: str, field: str) -> None:
        self._client = httpx.Client(base_url=url, timeout=httpx.Timeout(STEP_SECONDS, connect=CONNECT_SECONDS))
        self._name = name
        self._refusal, self._field = refusal, field

    def warm(self) -> None:
        """See whether it is well."""
        with self._reaching():
            self._check(self._client.get("/health"))

    def ask(self, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """The answer to a request, both of them JSON."""
        with self._reaching():
            response = self._client.post(path, json=body)
            self._check(response)
        answer: Mapping[str, Any] = response.json()
        return answer

    @contextmanager
    def stream(self, path: str, body: Mapping[str, Any]) -> Iterator[httpx.Response]:
        """The answer to a request as it comes; to leave it makes the server stop."""
        with self._reaching(), self._client.stream("POST", path, json=body) as response:
            if response.is_error:
                response.read()
            self._check(response)
            yield response

    def close(self) -> None:
        """Hang up."""
        self._client.close()

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except httpx.TransportError as error:
            raise EngineCrashed(f"{self._name} does not answer", retry_after=1.0) from error

    def _check(self, response: httpx.Response) -> None:
        if not response.is_error:
            return
        match response.status_code:
            case 400 | 422:
                raise InvalidArgument(f"{self._refusal}: {response.text[:500]}", field=self._field)
            case 429:
                raise Overloaded(f"{self._name} is full", retry_after=1.0)
            case 502 | 503 | 504:
                raise EngineCrashed(f"{self._name} is not ready", retry_after=1.0)
        raise Internal(f"{self._name} answered {response.status_code}: {response.text[:500]}")
