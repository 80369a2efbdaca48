"""What every call goes through, in one place: its identity, deadline, checks, errors, metrics and span."""

import json
import logging
import re
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any

import grpc
from google.api import field_behavior_pb2
from google.protobuf.message import Message
from grpc import StatusCode
from grpc_status import rpc_status

from servekit.call import DEFAULT_TENANT, Call, Flag, enter
from servekit.errors import Internal, InvalidArgument, ServeError, to_status
from servekit.telemetry import Telemetry

log = logging.getLogger(__name__)

TENANT = "x-polyphony-tenant"
REQUEST_ID = "x-request-id"
NAME = re.compile(r"[A-Za-z0-9_.:-]{1,128}")

Handler = Callable[[Any, Any], Any]


def service_config(service: str) -> dict[str, Any]:
    """The deadlines and retry policy that lie beside a service's proto: a gRPC service config."""
    package, _, _ = service.rpartition(".")
    _, noun, _ = package.split(".")
    source = files(package).joinpath(f"{noun}_service_config.json")
    config: dict[str, Any] = json.loads(source.read_text())
    return config


def timeouts(service: str) -> dict[str, float]:
    """The default deadline of each method, in seconds, by its full name."""
    return {
        f"/{name['service']}/{name['method']}": float(entry["timeout"].removesuffix("s"))
        for entry in service_config(service)["methodConfig"]
        for name in entry["name"]
    }


def check_required(message: Message, path: str = "") -> None:
    """Check the fields that the contract marks REQUIRED, in nested messages too.

    Raises:
        InvalidArgument: One is missing; it is named.
    """
    for field in message.DESCRIPTOR.fields:
        name = f"{path}{field.name}"
        behaviours = field.GetOptions().Extensions[field_behavior_pb2.field_behavior]
        value = getattr(message, field.name)
        if field_behavior_pb2.REQUIRED in behaviours:
            present = message.HasField(field.name) if field.has_presence else bool(value)
            if not present:
                raise InvalidArgument(f"{name} is required", field=name)
        if field.message_type is None or field.message_type.file.package.startswith("google."):
            continue
        if field.is_repeated:
            for index, entry in enumerate(value):
                check_required(entry, f"{name}[{index}].")
        elif message.HasField(field.name):
            check_required(value, f"{name}.")


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Wraps every handler of a server.

    Args:
        telemetry: Where metrics and spans go.
        default_timeouts: Seconds by full method name, for callers that set no deadline.
    """

    def __init__(self, telemetry: Telemetry, default_timeouts: Mapping[str, float]) -> None:
        self._telemetry = telemetry
        self._timeouts = default_timeouts

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or method.startswith("/grpc."):  # health and reflection speak for themselves
            return handler
        codec = (handler.request_deserializer, handler.response_serializer)
        if handler.unary_unary:
            return grpc.unary_unary_rpc_method_handler(self._unary(method, handler.unary_unary), *codec)
        if handler.unary_stream:
            return grpc.unary_stream_rpc_method_handler(self._stream(method, handler.unary_stream), *codec)
        if handler.stream_stream:
            return grpc.stream_stream_rpc_method_handler(self._stream(method, handler.stream_stream), *codec)
        return handler

    def _unary(self, method: str, inner: Handler) -> Handler:
        async def unary(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            async with self._call(method, request, context):
                return await inner(request, context)

        return unary

    def _stream(self, method: str, inner: Handler) -> Handler:
        async def stream(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
            async with self._call(method, request, context):
                async for response in inner(request, context):
                    yield response

        return stream

    @asynccontextmanager
    async def _call(
        self, method: str, request: Any, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[None]:
        name = method.rpartition(".")[2]
        metadata = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
        left = context.time_remaining()
        seconds = left if left is not None else self._timeouts.get(method, float("inf"))
        tenant, request_id = metadata.get(TENANT, DEFAULT_TENANT), metadata.get(REQUEST_ID) or uuid.uuid4().hex
        call = Call(tenant, request_id, Flag(time.monotonic() + seconds))
        with self._telemetry.call(name) as outcome:
            try:
                if not (NAME.fullmatch(tenant) and NAME.fullmatch(request_id)):
                    raise InvalidArgument("tenant and request id are letters, digits and _.:-", field=TENANT)
                enter(call)
                if isinstance(request, Message):
                    check_required(request)
                with self._telemetry.server_span(name, metadata):
                    yield
            except ServeError as error:
                outcome.code = error.code.name
                await context.abort_with_status(rpc_status.to_status(to_status(error)))
            except Exception as error:
                if isinstance(error, grpc.aio.AbortError):
                    raise
                log.exception("%s failed", name)
                outcome.code = StatusCode.INTERNAL.name
                await context.abort_with_status(rpc_status.to_status(to_status(Internal())))
            finally:
                call.flag.set()
