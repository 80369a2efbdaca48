"""Readiness of processes, by their public health interfaces."""

import asyncio
from collections.abc import Collection

import grpc
import httpx
from grpc_health.v1 import health_pb2

from fleet.runner.state import ProcessState

TIMEOUT_SECONDS = 2.0


async def is_ready(process: ProcessState, services: Collection[str] = ()) -> bool:
    """Whether the process serves; of a gateway, whether it reports those services as serving as well."""
    if process.state != "running":
        return False
    match process.protocol:
        case "grpc":
            return await _serves(f"{process.host}:{process.port}")
        case "http":
            return await _answers(f"http://{process.host}:{process.port}/readyz", services)
        case "postgres":
            return True  # it runs only once it has answered


async def _serves(target: str) -> bool:
    async with grpc.aio.insecure_channel(target) as channel:
        try:
            check = channel.unary_unary(
                "/grpc.health.v1.Health/Check",
                request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
                response_deserializer=health_pb2.HealthCheckResponse.FromString,
            )
            answer = await check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_SECONDS)
        except grpc.aio.AioRpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


async def _answers(url: str, services: Collection[str]) -> bool:
    async with httpx.AsyncClient(timeout=TIMEOUT_SECONDS, trust_env=False) as client:
        try:
            answer = await client.get(url)
        except httpx.HTTPError:
            return False
    return answer.is_success and all(answer.json()["services"].get(name) == "serving" for name in services)


async def all_ready(processes: list[ProcessState], services: Collection[str] = ()) -> dict[str, bool]:
    """Whether each process serves; all are asked concurrently.

    Args:
        processes: The processes.
        services: The services that a gateway must report as serving. Its connection to one that started late is
            retried only after a backoff.
    """
    answers = await asyncio.gather(*(is_ready(process, services) for process in processes))
    return {process.name: answer for process, answer in zip(processes, answers, strict=True)}
