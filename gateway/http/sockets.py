"""One WebSocket of the interface as an ASGI application: its handshake, its messages, and errors as events."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

import msgspec
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from gateway.app_state import AppState
from gateway.auth import Caller
from gateway.http.errors import error_response
from gateway.http.instrumentation import Instrumentation
from gateway.http.origin import require_own_origin
from gateway.http.responses import CLOSE_SECONDS
from servekit.context import REQUEST_ID, RequestContext
from servekit.errors import ServeError, Unavailable

log = logging.getLogger(__name__)

# The subprotocols that browsers offer, which cannot send headers: the protocol and the API key, as OpenAI has them.
SUBPROTOCOL = "realtime"
KEY_PREFIX = "openai-insecure-api-key."

# WebSocket close codes (RFC 6455 and IANA's registry): policy violation, try again later, internal error.
_POLICY, _TRY_LATER, _FAILED = 1008, 1013, 1011


@dataclass(frozen=True, slots=True)
class SocketContext:
    """The argument of a WebSocket handler.

    Attributes:
        state: What the handlers share.
        caller: The owner of the API key.
        socket: The WebSocket, not accepted yet: the handler accepts it after its checks.
    """

    state: AppState
    caller: Caller
    socket: WebSocket

    async def accept(self) -> None:
        """Open the socket."""
        subprotocol = SUBPROTOCOL if SUBPROTOCOL in self.socket.scope["subprotocols"] else None
        await self.socket.accept(subprotocol, [(REQUEST_ID.encode(), self.socket.state.request_id.encode())])

    async def receive(self) -> str | bytes:
        """The client's next message.

        Raises:
            WebSocketDisconnect: The client has disconnected.
        """
        message = await self.socket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message["code"], message.get("reason"))
        text: str | bytes | None = message.get("text")
        return message["bytes"] if text is None else text

    async def send(self, event: msgspec.Struct) -> None:
        """Send an event as JSON.

        Raises:
            WebSocketDisconnect: The client has disconnected.
        """
        await self.socket.send_text(msgspec.json.encode(event).decode())


@dataclass(frozen=True, slots=True)
class SocketOperation:
    """One WebSocket of the HTTP interface.

    Attributes:
        path: The path.
        handler: Answers; it returns when the client has disconnected.
        failure: Converts an error to an event.
        summary: A short phrase for people.
        seconds: The setting that holds the longest duration of a session.
    """

    path: str
    handler: Callable[[SocketContext], Awaitable[None]]
    failure: Callable[[ServeError], msgspec.Struct]
    summary: str
    seconds: str


class SocketEndpoint:
    """One such operation as an ASGI application."""

    def __init__(self, operation: SocketOperation, state: AppState) -> None:
        self._operation = operation
        self._state = state
        # The deadline leaves time to send the last events of a session that has reached its longest duration.
        self._seconds = float(getattr(state.settings, operation.seconds)) + CLOSE_SECONDS
        self._instrumentation = Instrumentation(f"WS {operation.path}", state)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        socket = WebSocket(scope, receive, send)

        async def answer(context: RequestContext) -> None:
            socket.state.request_id = context.request_id
            with suppress(WebSocketDisconnect):  # how every socket ends
                await self._answer(socket)

        async def fail(error: ServeError) -> None:
            await self._fail(socket, error)

        await self._instrumentation.run(socket.headers, self._seconds, answer, fail)

    async def _answer(self, socket: WebSocket) -> None:
        if self._state.shutting_down.is_set():
            raise Unavailable("the gateway is shutting down", retry_after=1.0)
        if not self._state.keys:
            require_own_origin(socket.headers, "GET", self._state.settings.allowed_hosts)
        caller = self._state.keys.admit(_authorization(socket))
        await self._operation.handler(SocketContext(self._state, caller, socket))

    async def _fail(self, socket: WebSocket, error: ServeError) -> None:
        """Send an error: as the response to the handshake, or as the last event."""
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                if socket.application_state is WebSocketState.CONNECTING:
                    response = error_response(error)
                    response.headers[REQUEST_ID] = socket.state.request_id
                    await socket.send_denial_response(response)
                elif socket.application_state is WebSocketState.CONNECTED:
                    await socket.send_text(msgspec.json.encode(self._operation.failure(error)).decode())
                    await socket.close(_close_code(error))
        except (TimeoutError, WebSocketDisconnect):
            log.info("%s: the client disconnected before it received the error", self._instrumentation.name)


def _authorization(socket: WebSocket) -> str:
    for offered in socket.scope["subprotocols"]:
        if offered.startswith(KEY_PREFIX):
            return f"Bearer {offered.removeprefix(KEY_PREFIX)}"
    return socket.headers.get("authorization", "")


def _close_code(error: ServeError) -> int:
    if error.http in (429, 503):
        return _TRY_LATER
    return _FAILED if error.http >= 500 else _POLICY
