"""Builds the gateway: HTTP and gRPC over the same state."""

import asyncio
import logging
import time

from polyphony.gateway.v1 import gateway_pb2

from gateway.app import build_app
from gateway.app_state import AppState
from gateway.auth import require_loopback
from gateway.clients import Clients
from gateway.http.server import WebServer
from gateway.pipelines.store_files import SWEEP_SECONDS
from gateway.service import GatewayService
from gateway.settings import GatewaySettings
from servekit.ops.periodic import repeat
from servekit.ops.telemetry import Telemetry
from servekit.rpc.server import ServiceSpec

log = logging.getLogger(__name__)


async def build(settings: GatewaySettings, telemetry: Telemetry) -> ServiceSpec:
    """The specification of the gateway's process.

    Raises:
        SystemExit: The keys file is invalid, or the process would listen on the network without one.
    """
    clients = Clients.connect(settings, telemetry)
    state = AppState.build(settings, telemetry, clients)
    require_loopback(settings.http_host, state.keys)
    require_loopback(settings.host, state.keys)
    web = WebServer(build_app(state), settings, telemetry)

    sweeping: list[asyncio.Task[None]] = []

    async def sweep_files() -> None:
        if removed := await state.files.sweep(time.time()):
            log.info("deleted %d expired objects", removed)

    async def start() -> None:
        await state.records.start()
        await web.start()
        for sweep, seconds, problem in (
            (sweep_files, settings.sweep_interval_seconds, "expired objects could not be deleted"),
            (state.store_files.sweep_all, SWEEP_SECONDS, "changes of vector stores could not be ended"),
        ):
            sweeping.append(asyncio.create_task(repeat(sweep, seconds, problem)))
        log.info("serving HTTP on %s:%d", settings.http_host, web.port)

    async def drain() -> None:
        state.shutting_down.set()
        await asyncio.sleep(settings.pre_stop_delay_seconds)
        await web.stop()

    async def stop() -> None:
        for task in sweeping:
            task.cancel()
        await state.records.stop()
        await clients.close()

    return ServiceSpec(
        servicer=GatewayService(state),
        services=[gateway_pb2.DESCRIPTOR.services_by_name["GatewayService"]],
        start=start,
        drain=drain,
        stop=stop,
    )
