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

from servekit.models.repository import ModelRepository
from servekit.ops.logs import configure_logging
from servekit.ops.settings import ProcessSettings
from servekit.ops.telemetry import Telemetry
from servekit.rpc.contract import handlers, timeouts
from servekit.rpc.errors import FailedPrecondition, ServeError
from servekit.rpc.interceptor import CallInterceptor
from servekit.rpc.open_inference import InferenceService
from servekit.rpc.tls import Certificates

log = logging.getLogger(__name__)

OPEN_INFERENCE = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
WATCH_SECONDS = 0.5
# How long an engine's thread that is through waits for a busy loop to let go of the interpreter.
SWITCH_SECONDS = 0.0005


async def _nothing() -> None:
    """Nothing to do."""


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """What a process serves.

    Attributes:
        servicer: An object with a method for each RPC of the services.
        services: The gRPC services. Each has reflection, a health status and its default deadlines.
        models: The process's models; those that are in memory from the start must be ready for the process to be.
        ready: Any other condition of the process's readiness.
        start: Starts what else must run before the process is ready.
        drain: Ends what else takes requests: called at once when the process is to end, it lets running ones finish.
        stop: Ends what `start` began.
    """

    servicer: object
    services: Sequence[ServiceDescriptor]
    models: ModelRepository = field(default_factory=ModelRepository)
    ready: Callable[[], bool] = lambda: True
    start: Callable[[], Awaitable[None]] = _nothing
    drain: Callable[[], Awaitable[None]] = _nothing
    stop: Callable[[], Awaitable[None]] = _nothing

    def is_ready(self) -> bool:
        """Whether the process can answer."""
        return self.models.ready and self.ready()


class Server:
    """A running deployment: `await start()`, then `await stop()`.

    Attributes:
        port: The gRPC port that it listens on.
        health_port: The plaintext port of health alone; 0 without TLS. Health is on `port`, too.
    """

    def __init__(self, settings: ProcessSettings, telemetry: Telemetry, service_spec: ServiceSpec) -> None:
        self._settings = settings
        self._telemetry = telemetry
        self._service_spec = service_spec
        self._health = health.aio.HealthServicer()
        services = [service.full_name for service in service_spec.services]
        self._names = ("", *services, OPEN_INFERENCE.full_name)
        self._watcher: asyncio.Task[None] | None = None
        age = int(settings.max_connection_age_seconds * 1000)
        self._server = grpc.aio.server(
            interceptors=[CallInterceptor(telemetry, timeouts(*services))],
            options=[
                ("grpc.max_receive_message_length", settings.max_message_bytes),
                ("grpc.max_send_message_length", settings.max_message_bytes),
                ("grpc.max_connection_age_ms", age),  # running calls outlive it: each has a deadline of its own
                # What exceeds it waits in the caller's own gRPC, and ends there at its deadline: where the server is
                # out of breath, a refusal costs it nearly as much as an answer.
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
        """Listen, not ready at first; warm every model; then say so and keep saying how things are.

        Raises:
            ServeError: A model does not come up.
        """
        await self._say(health_pb2.HealthCheckResponse.NOT_SERVING)
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
        self._watcher = asyncio.create_task(self._watch())
        log.info("serving on %s:%d", self._settings.host, self.port)

    async def stop(self) -> None:
        """Say so at once, turn away new calls after the notice, let the running ones end, give everything back."""
        if self._watcher is not None:
            self._watcher.cancel()
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

    async def _watch(self) -> None:
        while True:
            status = health_pb2.HealthCheckResponse
            await self._say(status.SERVING if self._service_spec.is_ready() else status.NOT_SERVING)
            await asyncio.sleep(WATCH_SECONDS)

    async def _say(self, status: int) -> None:
        for name in self._names:
            await self._health.set(name, status)


_SIGNALS = (signal.SIGTERM, signal.SIGINT)

AnySettings = TypeVar("AnySettings", bound=ProcessSettings)
Build = Callable[[AnySettings, Telemetry], Awaitable[ServiceSpec]]


async def run(settings: AnySettings, build: Build[AnySettings]) -> None:
    """Serve until SIGTERM or SIGINT, then drain. Until it is ready, a signal ends the process at once."""
    loop, stopping = asyncio.get_running_loop(), asyncio.Event()
    for number in _SIGNALS:  # said outright: the first process of a container is spared what others die of
        loop.add_signal_handler(number, os._exit, 128 + number)
    telemetry = Telemetry(settings)
    telemetry.listen()
    server = Server(settings, telemetry, await build(settings, telemetry))
    await server.start()
    gc.collect()
    gc.freeze()  # what is loaded now stays: no collection need look at it again
    for number in _SIGNALS:
        loop.add_signal_handler(number, stopping.set)
    await stopping.wait()
    log.info("draining")
    await server.stop()


def main(settings: AnySettings, build: Build[AnySettings]) -> None:
    """The whole life of a process: what a service's `__main__` calls."""
    configure_logging(settings)
    sys.setswitchinterval(SWITCH_SECONDS)
    log.info("settings: %s", settings.model_dump_json())
    try:
        uvloop.run(run(settings, build))
    except ServeError as error:
        raise SystemExit(f"{settings.process}: {error.message}") from error
