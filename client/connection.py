"""Calls to one gateway: their deadline, their one retry and their errors."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self

import httpx

from client.errors import GatewayError, error_of
from client.events import parse_event

RETRYABLE = (429, 503)


class Connection:
    """One gateway. Every call has one deadline, its one retry included.

    Args:
        http: A client with the gateway's URL as its base, and with its API key.
        seconds: The deadline of a call.
    """

    def __init__(self, http: httpx.AsyncClient, seconds: float) -> None:
        self._http, self._seconds = http, seconds

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, api_key: str = "", seconds: float = 60.0) -> AsyncIterator[Self]:
        """Connect to the gateway at `url` for the length of the block."""
        headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=None) as http:  # noqa: S113
            yield cls(http, seconds)

    @asynccontextmanager
    async def stream(self, method: str, path: str, **options: Any) -> AsyncIterator[httpx.Response]:
        """The response to a call, its body not read yet. A call that is rejected is retried once, after `Retry-After`.

        Raises:
            GatewayError: The call is refused, fails, or exceeds its deadline.
        """
        try:
            async with asyncio.timeout(self._seconds):
                response = await self._send(method, path, options)
                if response.status_code in RETRYABLE:
                    await response.aclose()
                    await asyncio.sleep(_retry_after(response))
                    response = await self._send(method, path, options)
                try:
                    if not response.is_success:
                        await response.aread()
                        raise error_of(response)
                    yield response
                finally:
                    await response.aclose()
        except TimeoutError as error:
            raise GatewayError(f"no answer within {self._seconds:g} s") from error
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise GatewayError(f"the gateway at {self._http.base_url} does not answer: {reason}") from error

    async def send(self, method: str, path: str, **options: Any) -> httpx.Response:
        """The response to a call, with its body; raises as `stream` does."""
        async with self.stream(method, path, **options) as response:
            await response.aread()
            return response

    async def json(self, method: str, path: str, **options: Any) -> Any:
        """The JSON answer to a call.

        Raises:
            GatewayError: The answer is not JSON, or as `stream` says.
        """
        response = await self.send(method, path, **options)
        try:
            return response.json()
        except ValueError as error:
            raise GatewayError(f"{method} {path} does not answer in JSON") from error

    async def events(self, method: str, path: str, **options: Any) -> AsyncGenerator[dict[str, Any]]:
        """The server-sent events of a call, as they come.

        Raises:
            GatewayError: An event is an error, or as `stream` says.
        """
        async with self.stream(method, path, **options) as response:
            async for line in response.aiter_lines():
                if event := parse_event(line):
                    yield event

    def socket(self, path: str) -> tuple[str, dict[str, str]]:
        """The URL of a WebSocket of this gateway, and the headers to open it with."""
        url = self._http.base_url.join(path)
        key = self._http.headers.get("authorization")
        websocket = url.copy_with(scheme="wss" if url.scheme == "https" else "ws")
        return str(websocket), {"authorization": key} if key else {}

    async def _send(self, method: str, path: str, options: dict[str, Any]) -> httpx.Response:
        return await self._http.send(self._http.build_request(method, path, **options), stream=True)


def _retry_after(response: httpx.Response) -> float:
    try:
        return float(response.headers["retry-after"])
    except (KeyError, ValueError):
        return 1.0
