"""The health of processes, by their public interfaces: whether they are ready, and whether they answer at all."""

import asyncio
import struct
from collections.abc import Collection
from typing import Literal

import grpc
import httpx
from grpc_health.v1 import health_pb2

from fleet.runner.process import Process
from fleet.runner.state import ProcessState

Health = Literal["serving", "not_serving", "refused", "silent"]
"""A health status; or the connection was refused or broken; or there was no answer in time."""

READY_SECONDS = 2.0
_HTTP_REQUEST = (
    b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"  # a client of httpx costs 20 ms
)
_POSTGRES_REQUEST = struct.pack("!ii", 8, 80877103)  # whether it takes TLS: answered before authentication


async def probe(process: Process | ProcessState, seconds: float) -> Health:
    """Check the health of a process within `seconds`; of a gateway without that of its services."""
    try:
        async with asyncio.timeout(seconds):
            match process.protocol:
                case "grpc":
                    return await _grpc_health(f"{process.host}:{process.port}", seconds)
                case "http":
                    answer = await _first_bytes(process.host, process.port, _HTTP_REQUEST, len("HTTP/1.1 200"))
                    return "serving" if answer.endswith(b" 200") else "not_serving" if answer else "refused"
                case "postgres":
                    answer = await _first_bytes(process.host, process.port, _POSTGRES_REQUEST, 1)
                    return "serving" if answer else "refused"
    except TimeoutError:
        return "silent"
    except Exception:  # no answer, but no silence either: such as a lack of file descriptors here
        return "refused"


async def is_ready(process: ProcessState, services: Collection[str] = ()) -> bool:
    """Whether the process serves; of a gateway, whether it reports those services and its database as serving, too."""
    if process.state != "running":
        return False
    match process.protocol:
        case "grpc":
            return await probe(process, READY_SECONDS) == "serving"
        case "http":
            return await _answers(f"http://{process.host}:{process.port}/readyz", services)
        case "postgres":
            return True  # it runs only once it has answered


async def all_ready(processes: list[ProcessState], services: Collection[str] = ()) -> dict[str, bool]:
    """Whether each process serves; all are asked concurrently.

    Args:
        processes: The processes.
        services: The services that a gateway must report as serving, with its database. Its connection to one that
            started late is retried only after a backoff.
    """
    answers = await asyncio.gather(*(is_ready(process, services) for process in processes))
    return {process.name: answer for process, answer in zip(processes, answers, strict=True)}


async def _grpc_health(target: str, seconds: float) -> Health:
    async with grpc.aio.insecure_channel(target) as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        try:
            answer = await check(health_pb2.HealthCheckRequest(), timeout=seconds)
        except grpc.aio.AioRpcError as error:
            return "silent" if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED else "refused"
        return "serving" if answer.status == health_pb2.HealthCheckResponse.SERVING else "not_serving"


async def _first_bytes(host: str, port: int, request: bytes, count: int) -> bytes:
    """The first bytes of the answer to a request on a new connection; fewer where the connection was closed."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(request)
        return await reader.read(count)
    finally:
        writer.close()


async def _answers(url: str, services: Collection[str]) -> bool:
    async with httpx.AsyncClient(timeout=READY_SECONDS, trust_env=False) as client:
        try:
            answer = await client.get(url)
        except httpx.HTTPError:
            return False
    if not services:
        return answer.is_success
    ready = answer.json()
    serving = all(ready["services"].get(name) == "serving" for name in services)
    return answer.is_success and serving and ready.get("database") != "not_serving"
