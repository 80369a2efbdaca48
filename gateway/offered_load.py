"""Offered load of a service without a running instance: an autoscaler starts one by it."""

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager
from typing import Any

import grpc
from prometheus_client import Counter

from servekit.errors import Unreachable
from servekit.scheduling.service_time import ExponentialMovingAverage


class OfferedLoadChannel:
    """A channel, for its generated stub, that counts the engine seconds of calls that reached no instance.

    The engine seconds of such a call are estimated by a moving average of the durations of served calls, their wait
    included.

    Args:
        channel: The channel to the service.
        unserved: Counts the seconds.
        seconds: The estimate until a call was served.
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

    def stream_unary(self, *args: Any, **kwargs: Any) -> Callable[[Any], Awaitable[Any]]:
        """Called by the stub. An upload lasts as long as its caller sends, so its duration is not averaged."""
        inner: Any = self._channel.stream_unary(*args, **kwargs)

        async def call(requests: Any) -> Any:
            with self._counting_unserved():
                return await inner(requests)

        return call

    def stream_stream(self, *args: Any, **kwargs: Any) -> Callable[[Any], AsyncGenerator[Any]]:
        """Called by the stub. A live stream lasts as long as its caller wants, so its duration is not averaged."""
        inner: Any = self._channel.stream_stream(*args, **kwargs)

        async def call(requests: Any) -> AsyncGenerator[Any]:
            with self._counting_unserved():
                async with aclosing(inner(requests)) as responses:
                    async for response in responses:
                        yield response

        return call

    @contextmanager
    def _counting(self) -> Iterator[None]:
        began = time.monotonic()
        with self._counting_unserved():
            yield
        self._seconds.observe(time.monotonic() - began)

    @contextmanager
    def _counting_unserved(self) -> Iterator[None]:
        try:
            yield
        except Unreachable:
            self._unserved.inc(self._seconds.value)
            raise
