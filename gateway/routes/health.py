"""`/healthz`, `/readyz` and `/metrics`: the health and the metrics of the gateway."""

from typing import Literal

from msgspec import UNSET, Struct, UnsetType
from starlette.responses import Response

from gateway.http.endpoint import HandlerContext, Operation
from gateway.http.responses import json_response


class Alive(Struct):
    """The liveness of the process."""

    status: Literal["ok"] = "ok"


class Readiness(Struct):
    """The readiness of the gateway: `ready` for all requests, `degraded` for those that need no missing service,
    `unavailable`, or `leaving` while it shuts down. `database` is absent where the gateway has none; while it does not
    serve, requests that need files or vector stores are answered with 503."""

    status: Literal["ready", "degraded", "unavailable", "leaving"]
    services: dict[str, Literal["serving", "not_serving"]]
    database: Literal["serving", "not_serving"] | UnsetType = UNSET


async def healthz(_: HandlerContext) -> Response:
    """Report that the process is alive."""
    return json_response(Alive())


async def readyz(context: HandlerContext) -> Response:
    """Report which services serve, and the database; 503 where no service does, or while the gateway shuts down."""
    services = await context.state.clients.health(context.state.settings.health_timeout_seconds)
    database = context.state.records.ready
    status: Literal["ready", "degraded", "unavailable", "leaving"] = "degraded"
    if context.state.shutting_down.is_set():
        status = "leaving"
    elif all(services.values()) and database is not False:
        status = "ready"
    elif not any(services.values()):
        status = "unavailable"
    report: dict[str, Literal["serving", "not_serving"]] = {
        noun: "serving" if serves else "not_serving" for noun, serves in services.items()
    }
    answer = Readiness(status, report)
    if database is not None:
        answer.database = "serving" if database else "not_serving"
    return json_response(answer, 200 if status in ("ready", "degraded") else 503)


async def metrics(context: HandlerContext) -> Response:
    """Return the metrics, as plain text or OpenMetrics by the `Accept` header."""
    text, media_type = await context.state.telemetry.exposition.get(context.request.headers.get("accept", ""))
    return Response(text, media_type=media_type)


OPERATIONS = (
    Operation(
        "GET",
        "/healthz",
        "getLiveness",
        healthz,
        "Liveness of the gateway",
        answer=Alive,
        is_open=True,
        any_host=True,
    ),
    Operation(
        "GET",
        "/readyz",
        "getReadiness",
        readyz,
        "Readiness of the gateway and its services",
        answer=Readiness,
        is_open=True,
        any_host=True,
    ),
    Operation(
        "GET",
        "/metrics",
        "getMetrics",
        metrics,
        "Metrics for Prometheus",
        answer_type="text/plain",
        any_host=True,
    ),
)
