"""The HTTP application: the table of its operations and WebSockets.

`python -m gateway.app` prints its OpenAPI document.
"""

import json
import sys

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute

from gateway.app_state import AppState
from gateway.http.endpoint import Endpoint, Operation
from gateway.http.errors import error_response
from gateway.http.instrumentation import request_id
from gateway.http.openapi import document
from gateway.http.sockets import SocketEndpoint, SocketOperation
from gateway.routes import (
    alignment,
    assessment,
    chat,
    diarization,
    docs,
    embeddings,
    emotion,
    enhancement,
    files,
    health,
    models,
    realtime,
    sounds,
    speech,
    transcriptions,
    vector_stores,
    vision,
    voices,
)
from servekit.context import REQUEST_ID
from servekit.echo import cut
from servekit.errors import InvalidArgument, NotFound, ServeError

_DESCRIBED: tuple[Operation, ...] = (
    *chat.OPERATIONS,
    *transcriptions.OPERATIONS,
    *speech.OPERATIONS,
    *voices.OPERATIONS,
    *diarization.OPERATIONS,
    *alignment.OPERATIONS,
    *assessment.OPERATIONS,
    *emotion.OPERATIONS,
    *enhancement.OPERATIONS,
    *sounds.OPERATIONS,
    *vision.OPERATIONS,
    *embeddings.OPERATIONS,
    *files.OPERATIONS,
    *vector_stores.OPERATIONS,
    *models.OPERATIONS,
    *realtime.OPERATIONS,
    *health.OPERATIONS,
)

OPERATIONS: tuple[Operation, ...] = (*_DESCRIBED, *docs.operations(_DESCRIBED))

SOCKETS: tuple[SocketOperation, ...] = realtime.SOCKETS


def build_app(state: AppState) -> Starlette:
    """The application, whose handlers share `state`."""
    routes: list[BaseRoute] = [
        Route(row.path, Endpoint(row, state), methods=[row.method], name=row.summary) for row in OPERATIONS
    ]
    routes += [WebSocketRoute(row.path, SocketEndpoint(row, state), name=row.summary) for row in SOCKETS]
    return Starlette(routes=[*routes, docs.assets()], exception_handlers={HTTPException: _no_route})


async def _no_route(request: Request, error: Exception) -> Response:
    """The response where no route matches: an unknown path, or a method that the path does not have."""
    path = cut(request.url.path)
    failure: ServeError = NotFound(f"no route for {path}")
    if isinstance(error, HTTPException) and error.status_code == 405:
        failure = InvalidArgument(f"no method {cut(request.method)} for {path}")
    response = error_response(failure)
    if isinstance(error, HTTPException):
        response.status_code = error.status_code
        response.headers.update(error.headers or {})
    response.headers[REQUEST_ID] = request_id(request.headers)
    return response


if __name__ == "__main__":
    sys.stdout.write(json.dumps(document(OPERATIONS)))
