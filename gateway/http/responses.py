"""Responses: JSON, server-sent events and byte streams."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass

import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.http.errors import error_answer
from servekit.context import current
from servekit.errors import DeadlineExceeded, ServeError


def json_response(body: object, status: int = 200) -> Response:
    """A struct as JSON."""
    return Response(msgspec.json.encode(body), status, media_type="application/json")


async def json_from_thread(build: Callable[..., object], *arguments: object) -> Response:
    """The JSON of `build(*arguments)`, made in a thread: a long recording has tens of thousands of words."""
    return await asyncio.to_thread(lambda: json_response(build(*arguments)))


# How long the end of a stream waits for a client that has stopped reading.
CLOSE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment between server-sent events, which clients ignore as the standard requires; here it carries progress."""

    body: msgspec.Struct


class EventStream(Response):
    """Server-sent events, one JSON object each, closed by `[DONE]`.

    The response begins with the first event, so that an error before it still has its own status.
    A later error, an exceeded deadline included, is sent as an event with an `error`.
    """

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[msgspec.Struct | Comment]) -> None:
        super().__init__(headers={"cache-control": "no-cache", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        async with aclosing(self._events) as events:
            first = await anext(events)
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await self._send(send, first)
            try:
                async with asyncio.timeout(current().cancellation.remaining_seconds()):
                    async for event in events:
                        await self._send(send, event)
            except ServeError as error:
                await self._end(send, error)
            except TimeoutError:
                await self._end(send, DeadlineExceeded("the deadline passed before the answer was complete"))
            else:
                await self._end(send)

    async def _end(self, send: Send, error: ServeError | None = None) -> None:
        async with asyncio.timeout(CLOSE_SECONDS):
            if error is not None:
                await self._send(send, error_answer(error))
            await send({"type": "http.response.body", "body": b"data: [DONE]\n\n", "more_body": False})

    @staticmethod
    async def _send(send: Send, event: msgspec.Struct | Comment) -> None:
        prefix, data = (b": ", event.body) if isinstance(event, Comment) else (b"data: ", event)
        body = prefix + msgspec.json.encode(data) + b"\n\n"
        await send({"type": "http.response.body", "body": body, "more_body": True})


class ByteStream(Response):
    """Bytes, sent as they are produced. An error before the first byte has its own status; after it, the connection
    is closed, which is how HTTP signals an incomplete body.
    """

    def __init__(self, chunks: AsyncGenerator[bytes], media_type: str) -> None:
        super().__init__(media_type=media_type)
        del self.headers["content-length"]
        self._chunks = chunks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        async with aclosing(self._chunks) as chunks:
            first = await anext(chunks, b"")
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await send({"type": "http.response.body", "body": first, "more_body": True})
            async with asyncio.timeout(current().cancellation.remaining_seconds()):
                async for chunk in chunks:
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
