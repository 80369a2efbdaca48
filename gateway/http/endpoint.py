"""What surrounds every handler: the caller, the deadline, the trace, the metrics, errors, and a client that leaves."""

import asyncio
import logging
import math
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from gateway.auth import Caller
from gateway.http.errors import error_response
from servekit.rpc.context import NAME, REQUEST_ID, CancellationToken, RequestContext, enter
from servekit.rpc.errors import DeadlineExceeded, Internal, InvalidArgument, ServeError, reason

if TYPE_CHECKING:
    from gateway.app_state import AppState

log = logging.getLogger(__name__)

TIMEOUT = "x-polyphony-timeout"


@dataclass(frozen=True, slots=True)
class HandlerContext:
    """What a handler works with.

    Attributes:
        state: What the handlers share: settings, clients, stores and pipelines.
        caller: Who asks.
        request: The HTTP request.
    """

    state: "AppState"
    caller: Caller
    request: Request


Handler = Callable[[HandlerContext], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Operation:
    """One row of the HTTP interface: the routes and the OpenAPI document are made of these.

    Attributes:
        method: The HTTP method.
        path: The path, with `{name}` where it varies.
        id: The `operationId` of the OpenAPI document, unique among all; OpenAI's where it has the operation.
        handler: Answers a request.
        summary: A short phrase for people; OpenAI's where it has the operation.
        seconds: The setting that holds its deadline.
        body: The struct of a JSON body.
        form: The struct of a form's small fields; the form also has a `file`.
        raw: The media type of a body that is sent as it is.
        answer: The struct of a JSON answer.
        answer_type: The media type of another answer.
        is_open: Whether it answers without an API key.
    """

    method: str
    path: str
    id: str
    handler: Handler
    summary: str
    seconds: str = "default_seconds"
    body: Any = None
    form: Any = None
    raw: str = ""
    answer: Any = None
    answer_type: str = ""
    is_open: bool = False


class Endpoint:
    """One operation as an ASGI application."""

    def __init__(self, operation: Operation, state: "AppState") -> None:
        self._operation = operation
        self._state = state
        self._name = f"{operation.method} {operation.path}"
        self._in_flight = state.telemetry.requests_in_flight.labels(self._name)
        self._latency = state.telemetry.request_duration.labels(self._name)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.monotonic()
        headers = Headers(scope=scope)
        telemetry = self._state.telemetry
        call = RequestContext(
            request_id=request_id(headers), cancellation=CancellationToken(began + self._default_seconds)
        )
        exchange = _Exchange(receive, send, call.request_id)
        code, trace = "OK", None
        self._in_flight.inc()
        enter(call)
        try:
            with telemetry.server_span(self._name, headers):
                trace = telemetry.exemplar()
                await self._answer(Request(scope, exchange.receive), headers, call, exchange)
        except ServeError as error:
            code = error.code.name
            if exchange.started:
                raise
            log.info("%s: %s: %s", self._name, reason(error), error.message)
            await error_response(error)(scope, receive, exchange.send)
        except asyncio.CancelledError:
            code = "CANCELLED"
            if not exchange.client_left:
                raise
            if task := asyncio.current_task():
                task.uncancel()
        except Exception:
            code = "INTERNAL"
            log.exception("%s failed", self._name)
            if exchange.started:
                raise
            await error_response(Internal("internal error"))(scope, receive, exchange.send)
        finally:
            exchange.close()
            call.cancellation.cancel()
            self._in_flight.dec()
            telemetry.requests.labels(self._name, code).inc()
            self._latency.observe(time.monotonic() - began, trace)

    @property
    def _default_seconds(self) -> float:
        return float(getattr(self._state.settings, self._operation.seconds))

    async def _answer(self, request: Request, headers: Headers, call: RequestContext, exchange: "_Exchange") -> None:
        caller = Caller(call.tenant)
        if not self._operation.is_open:
            caller = self._state.keys.authenticate(headers.get("authorization", ""))
            caller.admit()
        seconds = min(self._default_seconds, _asked_seconds(headers))
        call = replace(
            call, tenant=caller.tenant, cancellation=CancellationToken(time.monotonic() + seconds, call.cancellation)
        )
        enter(call)
        try:
            async with asyncio.timeout(call.cancellation.remaining_seconds()) as limit:
                exchange.on_start = lambda: limit.reschedule(None)  # from here on the response minds its deadline
                response = await self._operation.handler(HandlerContext(self._state, caller, request))
                await response(request.scope, exchange.receive, exchange.send)
        except TimeoutError as error:
            raise DeadlineExceeded(f"there was no answer within {seconds:g} s") from error
        finally:
            exchange.on_start = _nothing


class _Exchange:
    """One request and its response: adds the request id, and cancels the handler when the client leaves."""

    def __init__(self, receive: Receive, send: Send, request_id: str) -> None:
        self._receive, self._send, self._request_id = receive, send, request_id
        self._task = asyncio.current_task()
        self._watcher: asyncio.Task[None] | None = None
        self.started = False
        self.client_left = False
        self.on_start: Callable[[], None] = _nothing

    async def receive(self) -> Message:
        """The next piece of the body; once it is complete, wait for the client to leave."""
        if self._watcher is not None:
            await asyncio.shield(self._watcher)
            return {"type": "http.disconnect"}
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self._leave()
        elif not message.get("more_body", False):
            self._watcher = asyncio.create_task(self._watch())
        return message

    async def send(self, message: Message) -> None:
        """Pass a piece of the response on."""
        if message["type"] == "http.response.start":
            self.started = True
            self.on_start()
            MutableHeaders(raw=message["headers"])[REQUEST_ID] = self._request_id
        await self._send(message)

    def close(self) -> None:
        """Stop watching."""
        if self._watcher is not None:
            self._watcher.cancel()

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._leave()

    def _leave(self) -> None:
        self.client_left = True
        if self._task is not None:
            self._task.cancel()


def _nothing() -> None:
    """Nothing to do."""


def request_id(headers: Headers) -> str:
    """The caller's own request id if it is a proper one, else a fresh one."""
    given = headers.get(REQUEST_ID, "")
    return given if NAME.fullmatch(given) else f"req_{uuid.uuid4().hex}"


def _asked_seconds(headers: Headers) -> float:
    """The deadline that the caller asks for, in seconds; infinite where none."""
    text = headers.get(TIMEOUT)
    if text is None:
        return math.inf
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not seconds > 0:
        raise InvalidArgument(f"{TIMEOUT} is a positive number of seconds", field=TIMEOUT)
    return seconds
