"""The client of a service: round robin, retries and deadlines from the contract, errors as ours."""

import json
from collections.abc import AsyncIterator, Callable
from typing import Any, Generic, TypeVar, cast

import grpc

from servekit.call import REQUEST_ID, TENANT, current
from servekit.contract import service_config
from servekit.errors import from_rpc
from servekit.settings import ProcessSettings
from servekit.telemetry import inject

Request = TypeVar("Request")
Response = TypeVar("Response")


def _travels() -> tuple[float | None, tuple[tuple[str, str], ...]]:
    """What goes along with every call: what is left of the deadline, and whose call it is."""
    call = current()
    metadata = {TENANT: call.tenant}
    if call.request_id:
        metadata[REQUEST_ID] = call.request_id
    inject(metadata)
    left = call.flag.remaining()
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
    """One method whose answer streams; leaving the iterator cancels the call."""

    def __init__(self, inner: Callable[..., Any]) -> None:
        self._inner = inner

    async def __call__(self, request: Request) -> AsyncIterator[Response]:
        timeout, metadata = _travels()
        call = self._inner(request, timeout=timeout, metadata=metadata)
        try:
            async for response in call:
                yield response
        except grpc.aio.AioRpcError as error:
            raise from_rpc(error) from error
        finally:
            call.cancel()


class Channel:
    """A connection to one service, for its generated stub.

    The tenant, the request id, the trace and the rest of the deadline of `current()`
    travel by themselves; what the service raised is raised here.
    """

    def __init__(self, inner: grpc.aio.Channel) -> None:
        self._inner = inner

    def unary_unary(self, *args: Any, **kwargs: Any) -> _Unary[Any, Any]:
        """Called by the stub."""
        return _Unary(self._inner.unary_unary(*args, **kwargs))

    def unary_stream(self, *args: Any, **kwargs: Any) -> _Stream[Any, Any]:
        """Called by the stub."""
        return _Stream(self._inner.unary_stream(*args, **kwargs))

    async def close(self) -> None:
        """Hang up."""
        await self._inner.close()


def connect(target: str, service: str, settings: ProcessSettings) -> grpc.aio.Channel:
    """A channel to every address that `target` resolves to.

    Args:
        target: `host:port`, or any gRPC target.
        service: The full name of the service, such as `polyphony.vision.v1.VisionService`.
        settings: For message sizes and TLS.

    Returns:
        What the generated stub's constructor takes.
    """
    config = {**service_config(service), "loadBalancingConfig": [{"round_robin": {}}]}
    options = [
        ("grpc.service_config", json.dumps(config)),
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_send_message_length", settings.max_message_bytes),
        ("grpc.per_rpc_retry_buffer_size", settings.max_message_bytes),  # what exceeds it is never tried again
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 2_000),
        ("grpc.use_local_subchannel_pool", 1),  # what another channel's back-off says of an address is old news
    ]
    if settings.tls_authority is None:
        inner = grpc.aio.insecure_channel(target, options)
    else:
        key, chain = settings.tls_key, settings.tls_certificate
        credentials = grpc.ssl_channel_credentials(
            settings.tls_authority.read_bytes(),
            key.read_bytes() if key else None,
            chain.read_bytes() if chain else None,
        )
        inner = grpc.aio.secure_channel(target, credentials, options)
    return cast("grpc.aio.Channel", Channel(inner))
