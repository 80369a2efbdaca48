"""`/docs` and `/openapi.json`: the interface described, with every asset served from here."""

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from swagger_ui_bundle import swagger_ui_path

from gateway.http.endpoint import HandlerContext, Operation
from gateway.http.openapi import document
from gateway.http.responses import json_response

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8"><title>Polyphony</title>
<link rel="icon" href="data:,"><link rel="stylesheet" href="/docs/assets/swagger-ui.css">
</head>
<body>
<div id="page"></div>
<script src="/docs/assets/swagger-ui-bundle.js"></script>
<script src="/docs/page.js"></script>
</body>
</html>
"""
_SCRIPT = 'SwaggerUIBundle({ url: "/openapi.json", dom_id: "#page", deepLinking: true });\n'


async def page(_: HandlerContext) -> Response:
    """A page to read and to try."""
    return HTMLResponse(
        _PAGE, headers={"content-security-policy": "default-src 'self' data:; style-src 'self' 'unsafe-inline'"}
    )


async def script(_: HandlerContext) -> Response:
    """What starts the page."""
    return Response(_SCRIPT, media_type="text/javascript")


def operations(described: Sequence[Operation]) -> tuple[Operation, ...]:
    """The page and the document of these operations."""
    answer = document(described, version("polyphony"))

    async def openapi(_: HandlerContext) -> Response:
        """The OpenAPI document."""
        return json_response(answer)

    return (
        Operation("GET", "/openapi.json", openapi, "The OpenAPI document", is_open=True),
        Operation("GET", "/docs", page, "A page to read and to try", is_open=True),
        Operation("GET", "/docs/page.js", script, "What starts the page", is_open=True),
    )


def assets() -> Route | Mount:
    """Swagger UI's own files."""
    return Mount("/docs/assets", StaticFiles(directory=Path(swagger_ui_path)))
