"""`/docs` and `/openapi.json`: the API reference, with every asset served from here."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from swagger_ui_bundle import swagger_ui_path

from gateway.http.endpoint import HandlerContext, Operation
from gateway.http.openapi import document

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
_POLICY = "default-src 'self' data:; style-src 'self' 'unsafe-inline'; frame-ancestors 'none'"
_SCRIPT = 'SwaggerUIBundle({ url: "/openapi.json", dom_id: "#page", deepLinking: true });\n'


async def page(_: HandlerContext) -> Response:
    """The API reference, from which requests can be sent."""
    return HTMLResponse(_PAGE, headers={"content-security-policy": _POLICY})


async def script(_: HandlerContext) -> Response:
    """The script of the API reference."""
    return Response(_SCRIPT, media_type="text/javascript")


def operations(described: Sequence[Operation]) -> tuple[Operation, ...]:
    """The page and the document of these operations and of their own."""

    async def openapi(_: HandlerContext) -> Response:
        """The OpenAPI 3.1 document of this interface."""
        return Response(answer, media_type="application/json")

    rows = (
        Operation(
            "GET", "/openapi.json", "getOpenApi", openapi, "OpenAPI document", answer=dict[str, Any], is_open=True
        ),
        Operation("GET", "/docs", "getDocs", page, "API reference", answer_type="text/html", is_open=True),
        Operation(
            "GET",
            "/docs/page.js",
            "getDocsScript",
            script,
            "Script of the API reference",
            answer_type="text/javascript",
            is_open=True,
        ),
    )
    answer = msgspec.json.encode(document((*described, *rows)))
    return rows


def assets() -> Route | Mount:
    """The files of Swagger UI."""
    return Mount("/docs/assets", StaticFiles(directory=Path(swagger_ui_path)))
