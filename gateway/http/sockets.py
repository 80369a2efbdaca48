"""What surrounds every WebSocket: who calls and from which page, the trace, the metrics, and errors as events."""

import asyncio
import ipaddress
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from gateway.auth import Caller
from gateway.http.endpoint import request_id
from gateway.http.errors import error_response
from gateway.http.responses import LAST_WORDS_SECONDS
from servekit.rpc.context import REQUEST_ID, CancellationToken, RequestContext, enter
from servekit.rpc.errors import Internal, PermissionDenied, ServeError, Unavailable, reason

if TYPE_CHECKING:
    from gateway.app_state import AppState

log = logging.getLogger(__name__)

# What browsers offer, which cannot send headers: the protocol, and beside it the key, as OpenAI has it.
SUBPROTOCOL = "realtime"
KEY_PREFIX = "openai-insecure-api-key."

# Why a socket is closed (RFC 6455, and IANA's registry): the client is wrong; try later; the server is.
_POLICY, _TRY_LATER, _FAILED = 1008, 1013, 1011


@dataclass(frozen=True, slots=True)
class SocketContext:
    """What a handler works with.

    Attributes:
        state: What the handlers share: settings, clients, stores and pipelines.
        caller: Who asks.
        socket: Not yet accepted; the handler does, once it knows that it can answer.
    """

    state: "AppState"
    caller: Caller
    socket: WebSocket

    async def accept(self) -> None:
        """Open the socket."""
        subprotocol = SUBPROTOCOL if SUBPROTOCOL in self.socket.scope["subprotocols"] else None
        await self.socket.accept(subprotocol, [(REQUEST_ID.encode(), self.socket.state.request_id.encode())])

    async def receive(self) -> str | bytes:
        """The client's next message.

        Raises:
            WebSocketDisconnect: The client has gone.
        """
        message = await self.socket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message["code"], message.get("reason"))
        text: str | bytes | None = message.get("text")
        return message["bytes"] if text is None else text

    async def send(self, event: msgspec.Struct) -> None:
        """Send an event as JSON.

        Raises:
            WebSocketDisconnect: The client has gone.
        """
        await self.socket.send_text(msgspec.json.encode(event).decode())


@dataclass(frozen=True, slots=True)
class SocketOperation:
    """One WebSocket of the HTTP interface.

    Attributes:
        path: Where it is.
        handler: What answers; it returns when the client has gone.
        failure: An error as an event.
        summary: One line for people.
        seconds: The setting that holds how long it may last.
    """

    path: str
    handler: Callable[[SocketContext], Awaitable[None]]
    failure: Callable[[ServeError], msgspec.Struct]
    summary: str
    seconds: str


class SocketEndpoint:
    """One such operation as an ASGI application."""

    def __init__(self, operation: SocketOperation, state: "AppState") -> None:
        self._operation = operation
        self._state = state
        self._name = f"WS {operation.path}"
        self._in_flight = state.telemetry.requests_in_flight.labels(self._name)
        self._latency = state.telemetry.request_duration.labels(self._name)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.monotonic()
        socket = WebSocket(scope, receive, send)
        telemetry = self._state.telemetry
        seconds = float(getattr(self._state.settings, self._operation.seconds))
        # What is still understood when its time is over has time to be told.
        cancellation = CancellationToken(began + seconds + LAST_WORDS_SECONDS)
        call = RequestContext(request_id=request_id(socket.headers), cancellation=cancellation)
        socket.state.request_id = call.request_id
        code, trace = "OK", None
        self._in_flight.inc()
        try:
            with telemetry.server_span(self._name, socket.headers):
                trace = telemetry.exemplar()
                await self._answer(socket, call)
        except WebSocketDisconnect:
            pass  # the end of every socket
        except ServeError as error:
            code = error.code.name
            log.info("%s: %s: %s", self._name, reason(error), error.message)
            await self._tell(socket, error)
        except asyncio.CancelledError:
            code = "CANCELLED"
            raise
        except Exception:
            code = "INTERNAL"
            log.exception("%s failed", self._name)
            await self._tell(socket, Internal())
        finally:
            call.cancellation.cancel()
            self._in_flight.dec()
            telemetry.requests.labels(self._name, code).inc()
            self._latency.observe(time.monotonic() - began, trace)

    async def _answer(self, socket: WebSocket, call: RequestContext) -> None:
        if self._state.shutting_down.is_set():
            raise Unavailable("the gateway is stopping", retry_after=1.0)
        keys = self._state.keys
        if not keys:
            require_own_page(socket.headers)
        caller = keys.authenticate(_authorization(socket))
        caller.admit()
        enter(replace(call, tenant=caller.tenant))
        await self._operation.handler(SocketContext(self._state, caller, socket))

    async def _tell(self, socket: WebSocket, error: ServeError) -> None:
        """Say what went wrong: as the answer to the handshake, or as the last event."""
        try:
            async with asyncio.timeout(LAST_WORDS_SECONDS):
                if socket.application_state is WebSocketState.CONNECTING:
                    response = error_response(error)
                    response.headers[REQUEST_ID] = socket.state.request_id
                    await socket.send_denial_response(response)
                elif socket.application_state is WebSocketState.CONNECTED:
                    await socket.send_text(msgspec.json.encode(self._operation.failure(error)).decode())
                    await socket.close(_close_code(error))
        except (TimeoutError, WebSocketDisconnect):
            log.info("%s: the client did not hear it", self._name)


def require_own_page(headers: Headers) -> None:
    """Refuse a page that did not come from here, where no key is asked for: it is the browser's user who can reach
    this machine, not the page's author. Nor may a foreign name lead here, whatever the page says that it is.

    Raises:
        PermissionDenied: The page is a foreign one.
    """
    origin = headers.get("origin")
    if origin is None:
        return  # no browser
    page = urlsplit(origin)
    if page.netloc != headers.get("host") or not _is_loopback(page.hostname or ""):
        raise PermissionDenied("without API keys, only pages that this machine serves may connect", field="origin")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _authorization(socket: WebSocket) -> str:
    for offered in socket.scope["subprotocols"]:
        if offered.startswith(KEY_PREFIX):
            return f"Bearer {offered.removeprefix(KEY_PREFIX)}"
    return socket.headers.get("authorization", "")


def _close_code(error: ServeError) -> int:
    if error.http in (429, 503):
        return _TRY_LATER
    return _FAILED if error.http >= 500 else _POLICY
