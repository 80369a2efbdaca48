"""The client of a service: round robin, retries and deadlines from the contract, errors as ours."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any, Generic, TypeVar, cast

import grpc

from servekit.ops.settings import ProcessSettings
from servekit.ops.telemetry import inject
from servekit.rpc.context import REQUEST_ID, TENANT, current
from servekit.rpc.contract import service_config
from servekit.rpc.errors import DeadlineExceeded, from_rpc
from servekit.rpc.tls import Certificates

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0  # between two looks at whether the certificates have been renewed
LONGEST_CALL_SECONDS = 3600.0  # no deadline of the contract is later

Request = TypeVar("Request")
Response = TypeVar("Response")


def _travels() -> tuple[float | None, tuple[tuple[str, str], ...]]:
    """What goes along with every call: what is left of the deadline, and whose call it is.

    Raises:
        DeadlineExceeded: Nothing is left. gRPC may place such a call all the same, and have it answered.
    """
    call = current()
    left = call.cancellation.remaining_seconds()
    if not left:
        raise DeadlineExceeded("the deadline passed before the call was made")
    metadata = {TENANT: call.tenant}
    if call.request_id:
        metadata[REQUEST_ID] = call.request_id
    inject(metadata)
    return (None if left == float("inf") else left), tuple(metadata.items())


class _Unary(Generic[Request, Response]):
    """One unary method."""

    def __init__(self, inner: Callable[..., Any]) -> None:
        self._inner = inner

    async def __call__(self, request: Request) -> Response:
        timeout, metadata = _travels()
        try:
            return cast("Response", await self._inner(request, timeout=timeout, metadata=metadata))
        except grpc.aio.AioRpcError as error:
            raise from_rpc(error) from error


class _Stream(Generic[Request, Response]):
    """One method whose answer streams, to one request or to a stream of them; leaving the iterator cancels the call."""

    def __init__(self, inner: Callable[..., Any]) -> None:
        self._inner = inner

    async def __call__(self, request: Request) -> AsyncIterator[Response]:
        timeout, metadata = _travels()
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
                sending.cancel()
                await asyncio.wait([sending])
                if not sending.cancelled() and (broken := sending.exception()):
                    raise broken


async def _send(call: Any, requests: AsyncGenerator[Any]) -> None:
    """Send a stream of requests. gRPC would read on in them for ever once the call is over."""
    async with aclosing(requests):
        try:
            async for request in requests:
                await call.write(request)
            await call.done_writing()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            log.debug("a call was over before its requests")  # why, whoever reads its answers is told
        except Exception:
            call.cancel()
            raise


class _SecureChannel:
    """A channel over TLS, opened anew when the certificates are renewed; running calls end on the old one.

    Args:
        target: As of `connect`.
        options: Of gRPC.
        certificates: What it shows and trusts.
    """

    def __init__(self, target: str, options: Sequence[tuple[str, Any]], certificates: Certificates) -> None:
        self._target, self._options, self._certificates = target, options, certificates
        self._methods: dict[str, Callable[..., Any]] = {}
        self._retired: set[asyncio.Task[None]] = set()
        self._looked = 0.0
        self._inner = self._open()

    def unary_unary(self, *args: Any, **kwargs: Any) -> Callable[..., Any]:
        return partial(self._call, "unary_unary", args, kwargs)

    def unary_stream(self, *args: Any, **kwargs: Any) -> Callable[..., Any]:
        return partial(self._call, "unary_stream", args, kwargs)

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
        if now < self._looked + LOOK_SECONDS:
            return
        self._looked = now
        try:
            if not self._certificates.renew():
                return
        except OSError as error:
            log.warning("the certificates cannot be read, the old ones go on: %s", error)
            return
        task = asyncio.create_task(self._inner.close(grace=LONGEST_CALL_SECONDS))
        self._retired.add(task)
        task.add_done_callback(self._retired.discard)
        self._inner = self._open()
        self._methods.clear()

    def _open(self) -> grpc.aio.Channel:
        return grpc.aio.secure_channel(self._target, self._certificates.channel(), self._options)


class Channel:
    """A connection to one service, for its generated stub.

    The tenant, the request id, the trace and the rest of the deadline of `current()`
    travel by themselves; what the service raised is raised here.
    """

    def __init__(self, inner: grpc.aio.Channel | _SecureChannel) -> None:
        self._inner = inner

    def unary_unary(self, *args: Any, **kwargs: Any) -> _Unary[Any, Any]:
        """Called by the stub."""
        return _Unary(self._inner.unary_unary(*args, **kwargs))

    def unary_stream(self, *args: Any, **kwargs: Any) -> _Stream[Any, Any]:
        """Called by the stub."""
        return _Stream(self._inner.unary_stream(*args, **kwargs))

    def stream_stream(self, *args: Any, **kwargs: Any) -> _Stream[Any, Any]:
        """Called by the stub, whose method takes an asynchronous iterator of requests."""
        return _Stream(self._inner.stream_stream(*args, **kwargs))

    async def close(self) -> None:
        """Hang up."""
        await self._inner.close()


def connect(target: str, package: str, settings: ProcessSettings) -> grpc.aio.Channel:
    """A channel to every address that `target` resolves to.

    Args:
        target: `host:port`, or any gRPC target.
        package: The package of its services, such as `polyphony.vision.v1`.
        settings: For message sizes and TLS.

    Returns:
        What the generated stub's constructor takes.
    """
    config = {**service_config(package), "loadBalancingConfig": [{"round_robin": {}}]}
    options = [
        ("grpc.service_config", json.dumps(config)),
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_send_message_length", settings.max_message_bytes),
        ("grpc.per_rpc_retry_buffer_size", settings.max_message_bytes),  # what exceeds it is never tried again
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 2_000),
        ("grpc.dns_min_time_between_resolutions_ms", 1_000),  # by default 30 s: the old pod may be gone by then
        ("grpc.use_local_subchannel_pool", 1),  # what another channel's back-off says of an address is old news
    ]
    if settings.tls_ca_file is None:
        return cast("grpc.aio.Channel", Channel(grpc.aio.insecure_channel(target, options)))
    certificates = Certificates(settings.tls_certificate_file, settings.tls_key_file, settings.tls_ca_file)
    return cast("grpc.aio.Channel", Channel(_SecureChannel(target, options, certificates)))
