"""One HTTP operation as an ASGI application: its deadline, its answer, and its cancellation on disconnect."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from gateway.app_state import AppState
from gateway.auth import Caller
from gateway.budget import SMALL_BYTES
from gateway.http.errors import error_response
from gateway.http.instrumentation import Instrumentation
from gateway.http.origin import require_json, require_own_origin
from gateway.http.request_body import RequestBody
from gateway.settings import GatewaySettings
from servekit.context import REQUEST_ID, CancellationToken, RequestContext, current, enter
from servekit.echo import cut
from servekit.errors import DeadlineExceeded, InvalidArgument, ServeError
from servekit.rpc.contract import deadline_seconds

TIMEOUT = "x-polyphony-timeout"
SLICE_BYTES = 64 << 10  # of an answer, what the connection buffers of it


@dataclass(frozen=True, slots=True)
class HandlerContext:
    """The argument of an HTTP handler.

    Attributes:
        state: What the handlers share.
        caller: The owner of the API key.
        request: The HTTP request.
        body: Its body.
    """

    state: AppState
    caller: Caller
    request: Request
    body: RequestBody


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
        rpc: The RPC whose deadline the operation has, `package.Service/Method`.
        seconds: The setting that holds its deadline where it has no such RPC.
        body: The struct of a JSON body.
        form: The struct of a form's small fields; the form also has a `file`.
        raw: The media type of a body that is the file itself.
        answer: The struct of a JSON answer.
        answer_type: The media type of an answer that is not JSON.
        pages: Whether it answers with a page of a list, for `limit` and `after` in the query.
        is_open: Whether it answers without an API key.
        any_host: Whether it answers for any `Host` and `Origin`, also without API keys: a probe sends a pod's address.
    """

    method: str
    path: str
    id: str
    handler: Handler
    summary: str
    rpc: str = ""
    seconds: str = "default_timeout_seconds"
    body: Any = None
    form: Any = None
    raw: str = ""
    answer: Any = None
    answer_type: str = ""
    pages: bool = False
    is_open: bool = False
    any_host: bool = False

    def deadline_seconds(self, settings: GatewaySettings) -> float:
        """The deadline of a request that asks for none."""
        return deadline_seconds(self.rpc) if self.rpc else float(getattr(settings, self.seconds))


class Endpoint:
    """One operation as an ASGI application."""

    def __init__(self, operation: Operation, state: AppState) -> None:
        self._operation = operation
        self._state = state
        self._seconds = operation.deadline_seconds(state.settings)
        self._instrumentation = Instrumentation(f"{operation.method} {operation.path}", state)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        exchange = _Exchange(receive, send)

        async def answer(context: RequestContext) -> None:
            exchange.request_id = context.request_id
            await self._answer(Request(scope, exchange.receive), headers, exchange)

        async def fail(error: ServeError) -> None:
            if exchange.started:
                raise error  # closes the connection, which signals that the body is incomplete
            await error_response(error)(scope, receive, exchange.send)

        try:
            await self._instrumentation.run(headers, self._seconds, answer, fail)
        except asyncio.CancelledError:
            if not exchange.disconnected:
                raise
            if task := asyncio.current_task():
                task.uncancel()
        finally:
            exchange.close()

    async def _answer(self, request: Request, headers: Headers, exchange: "_Exchange") -> None:
        if not self._state.keys:
            self._require_own_origin(headers)
        caller = Caller(current().tenant)
        if not self._operation.is_open:
            caller = self._state.keys.admit(headers.get("authorization", ""))
        seconds = min(self._seconds, _requested_seconds(headers))
        context = current()
        cancellation = CancellationToken(time.monotonic() + seconds, context.cancellation)
        enter(replace(context, cancellation=cancellation))
        body = RequestBody(request, self._state.body_budgets, caller.tenant, self._state.settings)
        exchange.body = body
        try:
            async with asyncio.timeout(cancellation.remaining_seconds()) as limit:
                response = await self._operation.handler(HandlerContext(self._state, caller, request, body))
                if len(response.body) > SMALL_BYTES:
                    body.close()
                    await body.hold(len(response.body))
                if not response.body:  # a stream, which checks its deadline itself once it has begun
                    exchange.on_start = lambda: limit.reschedule(None)
                    exchange.watch()
                await response(request.scope, exchange.receive, exchange.send)
        except TimeoutError as error:
            raise DeadlineExceeded(f"no answer within {seconds:g} s") from error
        finally:
            exchange.on_start = _nothing

    def _require_own_origin(self, headers: Headers) -> None:
        """Check what a browser sends, since no API key keeps a page of another origin out."""
        row = self._operation
        if not row.any_host:
            require_own_origin(headers, row.method, self._state.settings.allowed_hosts)
        if row.body is not None and row.form is None:
            require_json(headers)


class _Exchange:
    """One request and its response: adds the request id, and cancels the handler when the client disconnects."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send
        self.request_id = ""
        self.body: RequestBody | None = None
        self._task = asyncio.current_task()
        self._watcher: asyncio.Task[None] | None = None
        self.started = False
        self.disconnected = False
        self.on_start: Callable[[], None] = _nothing

    async def receive(self) -> Message:
        """The next chunk of the body; after the last, wait until the client disconnects."""
        if self._watcher is not None:
            await asyncio.shield(self._watcher)
            return {"type": "http.disconnect"}
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self._disconnect()
        elif not message.get("more_body", False):
            self._watcher = asyncio.create_task(self._watch())
        return message

    async def send(self, message: Message) -> None:
        """Send a message of the response."""
        if message["type"] == "http.response.start":
            self.started = True
            self.on_start()
            MutableHeaders(raw=message["headers"])[REQUEST_ID] = self.request_id
        body = message.get("body", b"")
        for start in range(0, len(body) - SLICE_BYTES, SLICE_BYTES):  # the rest is sent once the client has read these
            await self._send({**message, "body": body[start : start + SLICE_BYTES], "more_body": True})
        if len(body) > SLICE_BYTES:
            message = {**message, "body": body[(len(body) - 1) // SLICE_BYTES * SLICE_BYTES :]}
        await self._send(message)

    def watch(self) -> None:
        """Cancel the handler when the client disconnects, also where nothing reads the body."""
        if self._watcher is None:
            self._watcher = asyncio.create_task(self._watch())

    def close(self) -> None:
        """Stop watching for the disconnect, and free the body."""
        if self._watcher is not None:
            self._watcher.cancel()
        if self.body is not None:
            self.body.close()

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._disconnect()

    def _disconnect(self) -> None:
        self.disconnected = True
        if self._task is not None:
            self._task.cancel()


def _nothing() -> None:
    """Do nothing."""


def _requested_seconds(headers: Headers) -> float:
    """The deadline that the caller asks for, in seconds; infinite without one."""
    text = headers.get(TIMEOUT)
    if text is None:
        return math.inf
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not seconds > 0:
        raise InvalidArgument(f"{TIMEOUT} must be a positive number of seconds, got {cut(text)!r}", field=TIMEOUT)
    return seconds
