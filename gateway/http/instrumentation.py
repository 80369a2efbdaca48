"""The context, deadline, trace, metrics and errors of every HTTP request and every WebSocket."""

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping

from gateway.app_state import AppState
from servekit.context import NAME, REQUEST_ID, CancellationToken, RequestContext, enter
from servekit.errors import Internal, ServeError, log_text

log = logging.getLogger(__name__)


class Instrumentation:
    """Runs the handler of one operation, measures it, and turns what it raises into an answer.

    Args:
        name: The operation, as the `method` label of the metrics and the name of the span.
        state: What the handlers share.
    """

    def __init__(self, name: str, state: AppState) -> None:
        self.name = name
        self._telemetry = state.telemetry
        self._in_flight = state.telemetry.requests_in_flight.labels(name)
        self._duration = state.telemetry.request_duration.labels(name)

    async def run(
        self,
        headers: Mapping[str, str],
        seconds: float,
        answer: Callable[[RequestContext], Awaitable[None]],
        fail: Callable[[ServeError], Awaitable[None]],
    ) -> None:
        """Answer one request.

        Args:
            headers: The headers of the request.
            seconds: Its deadline, from now.
            answer: Answers it. An exception that is not a `ServeError` is logged and sent as `Internal`.
            fail: Sends an error to the client, or raises it if the response has begun.
        """
        began = time.monotonic()
        context = RequestContext(request_id=request_id(headers), cancellation=CancellationToken(began + seconds))
        code, exemplar = "OK", None
        self._in_flight.inc()
        enter(context)
        try:
            with self._telemetry.server_span(self.name, headers):
                exemplar = self._telemetry.exemplar()
                await answer(context)
        except ServeError as error:
            code = error.code.name
            log.info("%s: %s", self.name, log_text(error))
            await fail(error)
        except asyncio.CancelledError:
            code = "CANCELLED"
            raise
        except Exception:
            code = "INTERNAL"
            log.exception("%s failed", self.name)
            await fail(Internal("internal error"))
        finally:
            context.cancellation.cancel()
            self._in_flight.dec()
            self._telemetry.requests.labels(self.name, code).inc()
            self._duration.observe(time.monotonic() - began, exemplar)


def request_id(headers: Mapping[str, str]) -> str:
    """The caller's own request id if it is valid, else a fresh one."""
    given = headers.get(REQUEST_ID, "")
    return given if NAME.fullmatch(given) else f"req_{uuid.uuid4().hex}"
