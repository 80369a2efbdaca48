"""`/v1/realtime`: transcription of live audio; and `/live`, a page to try it."""

import base64
import hashlib
from importlib.resources import files

from starlette.responses import HTMLResponse, Response

from gateway.http.endpoint import HandlerContext, Operation
from gateway.http.sockets import SocketContext, SocketOperation
from gateway.realtime.session import RealtimeSession, error_event
from gateway.realtime.session_config import SessionConfig
from gateway.schemas.realtime import TranscriptionConfig
from servekit.echo import cut
from servekit.errors import InvalidArgument, Overloaded

BETA_HEADER, BETA, BETA_SUBPROTOCOL = "openai-beta", "realtime=v1", "openai-beta.realtime-v1"

RETRY_SECONDS = 10.0  # after which a client may try again to open a session

_PAGE = files("gateway.pages").joinpath("live.html").read_text()
_SCRIPT = _PAGE.partition("<script>")[2].partition("</script>")[0]
_DIGEST = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
# Its one script, the worklet that this makes, and nothing from elsewhere.
_POLICY = (
    f"default-src 'none'; script-src 'sha256-{_DIGEST}' blob:; style-src 'unsafe-inline'; img-src data:; "
    "connect-src 'self'; media-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


async def converse(context: SocketContext) -> None:
    """Open a transcription session: audio as events or as binary frames, transcripts as events."""
    socket = context.socket
    intent = socket.query_params.get("intent", "transcription")
    if intent != "transcription":
        raise InvalidArgument(f"intent must be transcription, got {cut(intent)!r}", field="intent")
    name = socket.query_params.get("model", "")
    model = context.state.models.resolve("transcribe", name, context.caller)
    beta = socket.headers.get(BETA_HEADER) == BETA or BETA_SUBPROTOCOL in socket.scope["subprotocols"]
    sessions, tenant = context.state.realtime_sessions, context.caller.tenant
    if not sessions.try_acquire(tenant, 1):
        raise Overloaded("too many live sessions are open", retry_after=RETRY_SECONDS)
    try:
        await context.accept()
        await RealtimeSession(
            context, SessionConfig(transcription=TranscriptionConfig(model, "", "", [])), model, beta=beta
        ).run()
    finally:
        sessions.release(tenant, 1)


async def page(_: HandlerContext) -> Response:
    """A page that transcribes a microphone, or a recording while it plays it."""
    return HTMLResponse(_PAGE, headers={"content-security-policy": _POLICY})


OPERATIONS = (
    Operation(
        "GET", "/live", "getLivePage", page, "Page for live transcription", answer_type="text/html", is_open=True
    ),
)

SOCKETS = (
    SocketOperation(
        "/v1/realtime", converse, error_event, "Create transcription session", seconds="max_realtime_session_seconds"
    ),
)
