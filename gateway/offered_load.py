"""What is asked of a service that has no process: it tells an autoscaler when to bring one back."""

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager
from typing import Any

import grpc
from prometheus_client import Counter

from servekit.rpc.errors import Unreachable
from servekit.scheduling.service_time import ExponentialMovingAverage


class OfferedLoadChannel:
    """A channel, for its generated stub, that counts the engine seconds of calls which found nobody.

    How many those would have been is not known here: as many as calls that were served took of late, waiting included.

    Args:
        channel: To the service.
        unserved: Counts the seconds.
        seconds: What a call takes as long as none was served.
    """

    def __init__(self, channel: grpc.aio.Channel, unserved: Counter, seconds: float) -> None:
        self._channel = channel
        self._unserved = unserved
        self._seconds = ExponentialMovingAverage(seconds)

    def unary_unary(self, *args: Any, **kwargs: Any) -> Callable[[Any], Awaitable[Any]]:
        """Called by the stub."""
        inner: Any = self._channel.unary_unary(*args, **kwargs)

        async def call(request: Any) -> Any:
            with self._counting():
                return await inner(request)

        return call

    def unary_stream(self, *args: Any, **kwargs: Any) -> Callable[[Any], AsyncGenerator[Any]]:
        """Called by the stub."""
        inner: Any = self._channel.unary_stream(*args, **kwargs)

        async def call(request: Any) -> AsyncGenerator[Any]:
            with self._counting():
                async with aclosing(inner(request)) as responses:
                    async for response in responses:
                        yield response

        return call

    def stream_stream(self, *args: Any, **kwargs: Any) -> Callable[[Any], AsyncGenerator[Any]]:
        """Called by the stub. A live stream takes as long as its caller likes: how long says nothing of the others."""
        inner: Any = self._channel.stream_stream(*args, **kwargs)

        async def call(requests: Any) -> AsyncGenerator[Any]:
            try:
                async with aclosing(inner(requests)) as responses:
                    async for response in responses:
                        yield response
            except Unreachable:
                self._unserved.inc(self._seconds.value)
                raise

        return call

    @contextmanager
    def _counting(self) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        except Unreachable:
            self._unserved.inc(self._seconds.value)
            raise
        else:
            self._seconds.observe(time.monotonic() - began)
