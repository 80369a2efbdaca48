"""The server of a process: gRPC with health, reflection and the Open Inference Protocol, warm before it serves."""

import asyncio
import gc
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import grpc
import uvloop
from google.protobuf.descriptor import ServiceDescriptor
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from tritonclient.grpc import service_pb2, service_pb2_grpc

from servekit.errors import FailedPrecondition, ServeError
from servekit.ops.descriptors import raise_descriptor_limit
from servekit.ops.logs import configure_logging
from servekit.ops.loop_lag import LoopLag
from servekit.ops.settings import ProcessSettings
from servekit.ops.telemetry import Telemetry
from servekit.ops.tls import Certificates
from servekit.rpc.contract import handlers, timeouts
from servekit.rpc.interceptor import CallInterceptor
from servekit.rpc.open_inference import InferenceService
from servekit.tasks.repository import ModelRepository

log = logging.getLogger(__name__)

OPEN_INFERENCE = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
HANDSHAKE_MS = 10_000  # for TLS and the settings of HTTP/2
HEALTH_INTERVAL_SECONDS = 0.5
SWITCH_INTERVAL_SECONDS = 0.0005  # how long the thread of an engine waits for the GIL while the event loop is busy


async def _nothing() -> None:
    """Do nothing."""


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """What a process serves.

    Attributes:
        servicer: An object with a method for each RPC of the services.
        services: The gRPC services. Each has reflection, a health status and its default deadlines.
        models: The process's models. The process is ready only while those that are loaded at the start are ready.
        ready: Any other condition of the process's readiness.
        start: Starts what else must run before the process is ready.
        drain: Stops what else takes requests, after the running ones have finished; called when the process shuts down.
        stop: Stops what `start` started.
    """

    servicer: object
    services: Sequence[ServiceDescriptor]
    models: ModelRepository = field(default_factory=ModelRepository)
    ready: Callable[[], bool] = lambda: True
    start: Callable[[], Awaitable[None]] = _nothing
    drain: Callable[[], Awaitable[None]] = _nothing
    stop: Callable[[], Awaitable[None]] = _nothing

    def is_ready(self) -> bool:
        """Whether the process takes requests."""
        return self.models.ready and self.ready()


class Server:
    """The gRPC server of a process: `await start()`, then `await stop()`.

    Args:
        settings: The settings of the process.
        telemetry: Receives the metrics and spans of calls.
        service_spec: What the process serves.

    Attributes:
        port: The gRPC port that it listens on.
        health_port: The plaintext port of the health service alone; 0 without TLS. `port` has that service, too.
    """

    def __init__(self, settings: ProcessSettings, telemetry: Telemetry, service_spec: ServiceSpec) -> None:
        self._settings = settings
        self._telemetry = telemetry
        self._service_spec = service_spec
        self._health = health.aio.HealthServicer()
        services = [service.full_name for service in service_spec.services]
        self._names = ("", *services, OPEN_INFERENCE.full_name)
        self._watcher: asyncio.Task[None] | None = None
        self._loop_lag: LoopLag | None = None
        age = int(settings.max_connection_age_seconds * 1000)
        self._server = grpc.aio.server(
            interceptors=[CallInterceptor(telemetry, timeouts(*services))],
            maximum_concurrent_rpcs=settings.max_concurrent_rpcs,
            options=[
                ("grpc.max_receive_message_length", settings.max_message_bytes),
                ("grpc.max_send_message_length", settings.max_message_bytes),
                # An idle connection is closed at this age, too; running calls may take longer, up to their deadlines.
                ("grpc.max_connection_age_ms", age),
                ("grpc.max_allowed_incoming_connections", settings.max_connections),
                ("grpc.server_handshake_timeout_ms", HANDSHAKE_MS),
                ("grpc.keepalive_time_ms", 30_000),  # a peer that has vanished is found although it closed nothing
                ("grpc.keepalive_timeout_ms", 10_000),
                # Calls beyond it wait in the client's gRPC until their deadlines: rejecting one here would cost an
                # overloaded server nearly as much as answering it.
                ("grpc.max_concurrent_streams", settings.max_concurrent_streams),
                ("grpc.keepalive_permit_without_calls", 1),
                ("grpc.http2.min_ping_interval_without_data_ms", 5000),
                ("grpc.so_reuseport", 0),
            ],
        )
        self._plain: grpc.aio.Server | None = None
        self.port = self.health_port = 0

    @property
    def metrics_port(self) -> int:
        """The port of `/metrics`."""
        return self._telemetry.port

    async def start(self) -> None:
        """Listen, not ready at first; warm the models; then report the process's readiness until `stop`.

        Raises:
            ServeError: A model does not start.
        """
        await self._set_health(health_pb2.HealthCheckResponse.NOT_SERVING)
        for service in self._service_spec.services:
            self._server.add_generic_rpc_handlers((handlers(service, self._service_spec.servicer),))
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(
            InferenceService(self._settings.process, self._service_spec.models), self._server
        )
        names = (*self._names[1:], health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server)
        self._listen()
        await self._server.start()
        if self._plain is not None:
            await self._plain.start()
        await self._service_spec.start()
        await self._service_spec.models.start(self._telemetry)
        self._watcher = asyncio.create_task(self._report_health())
        self._loop_lag = LoopLag(self._telemetry)
        log.info("serving on %s:%d", self._settings.host, self.port)

    async def stop(self) -> None:
        """Report NOT_SERVING, reject new calls after the pre-stop delay, let running ones finish, free everything."""
        if self._watcher is not None:
            self._watcher.cancel()
        if self._loop_lag is not None:
            self._loop_lag.stop()
        await self._health.enter_graceful_shutdown()
        await asyncio.gather(self._drain(), self._service_spec.drain())
        if self._plain is not None:
            await self._plain.stop(0)
        await self._service_spec.models.close()
        await self._service_spec.stop()
        await asyncio.to_thread(self._telemetry.close)

    async def _drain(self) -> None:
        await asyncio.sleep(self._settings.pre_stop_delay_seconds)
        await self._server.stop(self._settings.drain_timeout_seconds)

    def _listen(self) -> None:
        settings = self._settings
        address = f"{settings.host}:{settings.port}"
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        if settings.tls_certificate_file is None:
            with self._bound("port"):
                self.port = self._server.add_insecure_port(address)
        else:
            credentials = Certificates(
                settings.tls_certificate_file, settings.tls_key_file, settings.tls_ca_file
            ).server()
            with self._bound("port"):
                self.port = self._server.add_secure_port(address, credentials)
            self._plain = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
            health_pb2_grpc.add_HealthServicer_to_server(self._health, self._plain)
            with self._bound("health_port"):
                self.health_port = self._plain.add_insecure_port(f"{settings.host}:{settings.health_port}")

    @contextmanager
    def _bound(self, field: str) -> Iterator[None]:
        try:
            yield
        except (RuntimeError, OSError) as error:
            address = f"{self._settings.host}:{getattr(self._settings, field)}"
            raise FailedPrecondition(f"cannot listen on {address}: the address is in use", field=field) from error

    async def _report_health(self) -> None:
        while True:
            status = health_pb2.HealthCheckResponse
            await self._set_health(status.SERVING if self._service_spec.is_ready() else status.NOT_SERVING)
            await asyncio.sleep(HEALTH_INTERVAL_SECONDS)

    async def _set_health(self, status: int) -> None:
        for name in self._names:
            await self._health.set(name, status)


_SIGNALS = (signal.SIGTERM, signal.SIGINT)

AnySettings = TypeVar("AnySettings", bound=ProcessSettings)
Build = Callable[[AnySettings, Telemetry], Awaitable[ServiceSpec]]


async def run(settings: AnySettings, build: Build[AnySettings]) -> None:
    """Serve until SIGTERM or SIGINT, then drain. Until the server is ready, a signal ends the process at once."""
    loop, stopping = asyncio.get_running_loop(), asyncio.Event()
    for number in _SIGNALS:  # PID 1 of a container ignores a signal that has no handler
        loop.add_signal_handler(number, os._exit, 128 + number)
    telemetry = Telemetry(settings)
    telemetry.listen()
    server = Server(settings, telemetry, await build(settings, telemetry))
    await server.start()
    gc.collect()
    gc.freeze()  # what is loaded by now stays loaded: later collections skip it
    for number in _SIGNALS:
        loop.add_signal_handler(number, stopping.set)
    await stopping.wait()
    log.info("draining")
    await server.stop()


def main(settings: AnySettings, build: Build[AnySettings]) -> None:
    """Run a process from its settings to its exit; called by its `__main__`."""
    os.umask(0o077)  # its files hold what callers sent
    configure_logging(settings)
    raise_descriptor_limit()
    sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
    log.info("settings: %s", settings.model_dump_json())
    try:
        uvloop.run(run(settings, build))
    except ServeError as error:
        raise SystemExit(f"{settings.process}: {error.message}") from error
