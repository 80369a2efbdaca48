"""The gRPC client of a service: load balancing, retries, deadlines, and errors of `servekit.errors`."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any, Generic, TypeVar, cast

import grpc

from servekit.context import REQUEST_ID, TENANT, current
from servekit.errors import DeadlineExceeded, from_rpc
from servekit.ops.settings import ProcessSettings
from servekit.ops.telemetry import inject
from servekit.ops.tls import Certificates
from servekit.rpc.contract import service_config

log = logging.getLogger(__name__)

CERTIFICATE_CHECK_SECONDS = 1.0  # between two checks whether the certificate files have changed
MAX_CALL_SECONDS = 3600.0  # an upper bound of the deadlines in the contract

Request = TypeVar("Request")
Response = TypeVar("Response")


def _timeout_and_metadata() -> tuple[float | None, tuple[tuple[str, str], ...]]:
    """Return the timeout of a call and its metadata, from the current `RequestContext`.

    Raises:
        DeadlineExceeded: The deadline has passed. gRPC could still make such a call and get its response.
    """
    context = current()
    timeout = context.cancellation.remaining_seconds()
    if not timeout:
        raise DeadlineExceeded("the deadline passed before the call was made")
    metadata = {TENANT: context.tenant}
    if context.request_id:
        metadata[REQUEST_ID] = context.request_id
    inject(metadata)
    return (None if timeout == float("inf") else timeout), tuple(metadata.items())


class _Unary(Generic[Request, Response]):
    """One unary method."""

    def __init__(self, inner: Callable[..., Any]) -> None:
        self._inner = inner

    async def __call__(self, request: Request) -> Response:
        timeout, metadata = _timeout_and_metadata()
        try:
            return cast("Response", await self._inner(request, timeout=timeout, metadata=metadata))
        except grpc.aio.AioRpcError as error:
            raise from_rpc(error) from error


class _Stream(Generic[Request, Response]):
    """One method with a stream of responses, to one request or to a stream; closing the iterator cancels the call."""

    def __init__(self, inner: Callable[..., Any]) -> None:
        self._inner = inner

    async def __call__(self, request: Request) -> AsyncIterator[Response]:
        timeout, metadata = _timeout_and_metadata()
        sending = None
        if isinstance(request, AsyncGenerator):
            call = self._inner(None, timeout=timeout, metadata=metadata)
            sending = asyncio.create_task(_send(call, request))
        else:
            call = self._inner(request, timeout=timeout, metadata=metadata)
        try:
            async for response in call:
                yield response
        except grpc.aio.AioRpcError as error:
            raise from_rpc(error) from error
        finally:
            call.cancel()
            if sending is not None:
                await _stop(sending)


class _Upload(Generic[Request, Response]):
    """One method with a stream of requests and one response; requests are sent as fast as the service reads them."""

    def __init__(self, inner: Callable[..., Any]) -> None:
        self._inner = inner

    async def __call__(self, requests: AsyncGenerator[Request]) -> Response:
        timeout, metadata = _timeout_and_metadata()
        call = self._inner(None, timeout=timeout, metadata=metadata)
        sending = asyncio.create_task(_send(call, requests))
        try:
            return cast("Response", await call)
        except grpc.aio.AioRpcError as error:
            raise from_rpc(error) from error
        finally:
            call.cancel()
            await _stop(sending)


async def _send(call: Any, requests: AsyncGenerator[Any]) -> None:
    """Send a stream of requests until the call ends. gRPC itself would keep reading the generator after that."""
    async with aclosing(requests):
        try:
            async for request in requests:
                await call.write(request)
            await call.done_writing()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            log.debug("the call ended before its requests")  # the reader of its responses gets the reason
        except Exception:
            call.cancel()
            raise


async def _stop(sending: "asyncio.Task[None]") -> None:
    """End the sending of requests; raise what their generator raised."""
    sending.cancel()
    await asyncio.wait([sending])
    if not sending.cancelled() and (failure := sending.exception()):
        raise failure


class _SecureChannel:
    """A channel over TLS that reconnects when the certificates are renewed; running calls end on the old channel.

    Args:
        target: As for `connect`.
        options: The channel options of gRPC.
        certificates: The certificate that the channel presents and the CA that it trusts.
    """

    def __init__(self, target: str, options: Sequence[tuple[str, Any]], certificates: Certificates) -> None:
        self._target, self._options, self._certificates = target, options, certificates
        self._methods: dict[str, Callable[..., Any]] = {}
        self._retired: set[asyncio.Task[None]] = set()
        self._checked_at = 0.0
        self._inner = self._open()

    def unary_unary(self, *args: Any, **kwargs: Any) -> Callable[..., Any]:
        return partial(self._call, "unary_unary", args, kwargs)

    def unary_stream(self, *args: Any, **kwargs: Any) -> Callable[..., Any]:
        return partial(self._call, "unary_stream", args, kwargs)

    def stream_unary(self, *args: Any, **kwargs: Any) -> Callable[..., Any]:
        return partial(self._call, "stream_unary", args, kwargs)

    def stream_stream(self, *args: Any, **kwargs: Any) -> Callable[..., Any]:
        return partial(self._call, "stream_stream", args, kwargs)

    async def close(self) -> None:
        for task in self._retired:
            task.cancel()
        await self._inner.close()

    def _call(self, kind: str, args: Sequence[Any], kwargs: Mapping[str, Any], request: Any, **options: Any) -> Any:
        self._renew()
        path = args[0]
        if path not in self._methods:
            self._methods[path] = getattr(self._inner, kind)(*args, **kwargs)
        return self._methods[path](request, **options)

    def _renew(self) -> None:
        now = time.monotonic()
        if now < self._checked_at + CERTIFICATE_CHECK_SECONDS:
            return
        self._checked_at = now
        try:
            if not self._certificates.renew():
                return
        except OSError as error:
            log.warning("cannot read the renewed certificates, the old ones stay in use: %s", error)
            return
        task = asyncio.create_task(self._inner.close(grace=MAX_CALL_SECONDS))
        self._retired.add(task)
        task.add_done_callback(self._retired.discard)
        self._inner = self._open()
        self._methods.clear()

    def _open(self) -> grpc.aio.Channel:
        return grpc.aio.secure_channel(self._target, self._certificates.channel(), self._options)


class Channel:
    """A connection to one service, for its generated stub.

    Each call carries the tenant, the request id, the trace and the remaining deadline of `current()`. An error of the
    service is raised here as the same class.
    """

    def __init__(self, inner: grpc.aio.Channel | _SecureChannel) -> None:
        self._inner = inner

    def unary_unary(self, *args: Any, **kwargs: Any) -> _Unary[Any, Any]:
        """Called by the stub."""
        return _Unary(self._inner.unary_unary(*args, **kwargs))

    def unary_stream(self, *args: Any, **kwargs: Any) -> _Stream[Any, Any]:
        """Called by the stub."""
        return _Stream(self._inner.unary_stream(*args, **kwargs))

    def stream_unary(self, *args: Any, **kwargs: Any) -> _Upload[Any, Any]:
        """Called by the stub, whose method takes an asynchronous generator of requests."""
        return _Upload(self._inner.stream_unary(*args, **kwargs))

    def stream_stream(self, *args: Any, **kwargs: Any) -> _Stream[Any, Any]:
        """Called by the stub, whose method takes an asynchronous iterator of requests."""
        return _Stream(self._inner.stream_stream(*args, **kwargs))

    async def close(self) -> None:
        """Close the connection."""
        await self._inner.close()


def connect(target: str, package: str, settings: ProcessSettings) -> grpc.aio.Channel:
    """Open a channel that balances calls over the addresses of `target`.

    Args:
        target: `host:port`, or any gRPC target.
        package: The package of the services, such as `polyphony.vision.v1`, for its service config.
        settings: The bounds of messages, and TLS.

    Returns:
        The argument of a generated stub's constructor.
    """
    config = {**service_config(package), "loadBalancingConfig": [{"round_robin": {}}]}
    options = [
        ("grpc.service_config", json.dumps(config)),
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_send_message_length", settings.max_message_bytes),
        ("grpc.per_rpc_retry_buffer_size", settings.max_message_bytes),  # a larger request is never retried
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 2_000),
        ("grpc.dns_min_time_between_resolutions_ms", 1_000),  # 30 s by default, in which a pod may be replaced
        ("grpc.use_local_subchannel_pool", 1),  # not delayed by the back-off of another channel
    ]
    if settings.tls_ca_file is None:
        return cast("grpc.aio.Channel", Channel(grpc.aio.insecure_channel(target, options)))
    certificates = Certificates(settings.tls_certificate_file, settings.tls_key_file, settings.tls_ca_file)
    return cast("grpc.aio.Channel", Channel(_SecureChannel(target, options, certificates)))
