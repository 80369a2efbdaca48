"""`/healthz`, `/readyz` and `/metrics`: how the gateway and what stands behind it are."""

from typing import Literal

from msgspec import Struct
from prometheus_client.exposition import choose_encoder
from starlette.responses import Response

from gateway.http.endpoint import HandlerContext, Operation
from gateway.http.responses import json_response


class Alive(Struct):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Readiness(Struct):
    """Whether requests are answered: all of them, those that need only the serving services, or none; or not for long,
    since the gateway is about to end."""

    status: Literal["ready", "degraded", "unavailable", "leaving"]
    services: dict[str, Literal["serving", "not_serving"]]


async def healthz(_: HandlerContext) -> Response:
    """Say that the process is alive."""
    return json_response(Alive())


async def readyz(context: HandlerContext) -> Response:
    """Say which services serve; 503 where none does, or the gateway is about to end."""
    services = await context.state.clients.health(context.state.settings.health_timeout_seconds)
    status: Literal["ready", "degraded", "unavailable", "leaving"] = "degraded"
    if context.state.shutting_down.is_set():
        status = "leaving"
    elif all(services.values()):
        status = "ready"
    elif not any(services.values()):
        status = "unavailable"
    told: dict[str, Literal["serving", "not_serving"]] = {
        noun: "serving" if serves else "not_serving" for noun, serves in services.items()
    }
    return json_response(Readiness(status, told), 200 if status in ("ready", "degraded") else 503)


async def metrics(context: HandlerContext) -> Response:
    """The metrics, in plain text or OpenMetrics as the caller accepts."""
    encode, media_type = choose_encoder(context.request.headers.get("accept", ""))
    return Response(encode(context.state.telemetry.registry), media_type=media_type)


OPERATIONS = (
    Operation("GET", "/healthz", "getLiveness", healthz, "Liveness of the gateway", answer=Alive, is_open=True),
    Operation(
        "GET",
        "/readyz",
        "getReadiness",
        readyz,
        "Readiness of the gateway and its services",
        answer=Readiness,
        is_open=True,
    ),
    Operation("GET", "/metrics", "getMetrics", metrics, "Metrics for Prometheus", answer_type="text/plain"),
)
