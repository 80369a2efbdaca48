"""The server interceptor: the identity, deadline, checks, errors, metrics and span of every call."""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext
from types import TracebackType
from typing import Any, Self, cast

import grpc
from google.protobuf.message import Message
from grpc_status import rpc_status

from servekit.context import DEFAULT_TENANT, NAME, REQUEST_ID, TENANT, CancellationToken, RequestContext, enter
from servekit.errors import DeadlineExceeded, Internal, InvalidArgument, ServeError, Unimplemented, to_status
from servekit.ops.telemetry import Telemetry
from servekit.rpc.contract import check_required

log = logging.getLogger(__name__)

Handler = Callable[[Any, Any], Any]
Context = grpc.aio.ServicerContext[Any, Any]

_UNBOUND = nullcontext()


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Wraps every handler of a server.

    Args:
        telemetry: Where metrics and spans go.
        default_timeouts: Seconds by full method name, for callers that set no deadline.
    """

    def __init__(self, telemetry: Telemetry, default_timeouts: Mapping[str, float]) -> None:
        self._telemetry = telemetry
        self._timeouts = default_timeouts
        self._wrapped: dict[str, Any] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        method = handler_call_details.method
        if method not in self._wrapped:
            handler = await continuation(handler_call_details)
            if handler is None or method.startswith("/grpc."):  # gRPC's own health and reflection
                return handler
            self._wrapped[method] = self._wrap(method, handler)
        return self._wrapped[method]

    def _wrap(self, method: str, handler: Any) -> Any:
        codec = (handler.request_deserializer, handler.response_serializer)
        metered = _Method(method, self._telemetry, self._timeouts.get(method))
        if handler.unary_unary:
            return grpc.unary_unary_rpc_method_handler(_unary(metered, handler.unary_unary), *codec)
        if handler.stream_unary:
            return grpc.stream_unary_rpc_method_handler(_unary(metered, handler.stream_unary), *codec)
        if handler.unary_stream:
            return grpc.unary_stream_rpc_method_handler(_stream(metered, handler.unary_stream), *codec)
        return grpc.stream_stream_rpc_method_handler(_stream(metered, handler.stream_stream), *codec)


def _unary(method: "_Method", inner: Handler) -> Handler:
    async def unary(request: Any, context: Context) -> Any:
        async with _Running(method, context) as call, call.time_limit():
            call.check(request)
            return await inner(request, context)

    return unary


def _stream(method: "_Method", inner: Handler) -> Handler:
    # This writes rather than yields, so that a cancellation reaches it wherever it waits and closes the inner stream.
    async def stream(request: Any, context: Context) -> None:
        async with _Running(method, context) as call, call.time_limit():
            call.check(request)
            async with aclosing(inner(request, context)) as responses:
                async for response in responses:
                    await context.write(response)

    return stream


def _request_id() -> str:
    """Return a random id. It is no secret, and the random numbers of the system would take longer."""
    return f"{random.getrandbits(128):032x}"


class _Method:
    """One method with its metrics."""

    def __init__(self, path: str, telemetry: Telemetry, seconds: float | None) -> None:
        self.name = path.rpartition(".")[2]
        self.seconds = seconds
        self.telemetry = telemetry
        self.in_flight = telemetry.requests_in_flight.labels(self.name)
        self.latency = telemetry.request_duration.labels(self.name)
        self.good = telemetry.requests.labels(self.name, "OK")


class _Running:
    """One running call."""

    __slots__ = ("_began", "_call", "_context", "_limit", "_malformed", "_method", "_span")

    def __init__(self, method: _Method, context: Context) -> None:
        self._method = method
        self._context = context
        self._began = time.monotonic()
        # gRPC enforces the deadline of the caller; where there is none, the default of the contract is enforced here.
        left = context.time_remaining()
        self._limit = method.seconds if left is None else None
        seconds = self._limit if left is None else left
        metadata = cast("dict[str, str]", dict(context.invocation_metadata() or ()))  # bytes where a key ends with -bin
        given = {TENANT: metadata.get(TENANT, DEFAULT_TENANT), REQUEST_ID: metadata.get(REQUEST_ID) or _request_id()}
        self._malformed = next((field for field, value in given.items() if not NAME.fullmatch(value)), "")
        tenant, request_id = (DEFAULT_TENANT, _request_id()) if self._malformed else given.values()
        deadline = float("inf") if seconds is None else self._began + seconds
        self._call = RequestContext(tenant, request_id, CancellationToken(deadline))
        self._span = method.telemetry.server_span(method.name, metadata)

    async def __aenter__(self) -> Self:
        enter(self._call)
        self._span.__enter__()
        self._method.in_flight.inc()
        return self

    def check(self, request: object) -> None:
        """Check the tenant, the request id and the required fields.

        Raises:
            InvalidArgument: The tenant or the request id is malformed, or a required field is missing.
        """
        if field := self._malformed:
            raise InvalidArgument(f"{field} must be 1 to 128 letters, digits and _.:-", field=field)
        if isinstance(request, Message):
            check_required(request)

    def time_limit(self) -> AbstractAsyncContextManager[object]:
        """Enforce the default deadline within the block."""
        return _UNBOUND if self._limit is None else asyncio.timeout(self._limit)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        method = self._method
        failure = self._failure(error)
        trace = method.telemetry.exemplar()
        try:
            self._call.cancellation.cancel()
            self._span.__exit__(kind, error, traceback)
        finally:
            method.in_flight.dec()
            method.latency.observe(time.monotonic() - self._began, trace)
            if error is None:
                method.good.inc()
            else:
                code = failure.code.name if failure is not None else "CANCELLED"
                method.telemetry.requests.labels(method.name, code).inc()
        if failure is not None:  # after the metrics, so that a caller that has the error finds it counted
            await self._context.abort_with_status(rpc_status.to_status(to_status(failure)))

    def _failure(self, error: BaseException | None) -> ServeError | None:
        """Return the error to send; None after success, or if the caller has disconnected."""
        if error is None or isinstance(error, ServeError):
            return error
        if isinstance(error, TimeoutError) and self._call.cancellation.cancelled:
            return DeadlineExceeded("the deadline passed before the work was done")
        if isinstance(error, NotImplementedError):
            return Unimplemented(f"{self._method.name} is not implemented")
        if isinstance(error, asyncio.CancelledError | GeneratorExit | grpc.aio.InternalError):
            return None  # the caller has disconnected; InternalError is what a write raises then
        log.error("%s failed", self._method.name, exc_info=error)
        return Internal()
