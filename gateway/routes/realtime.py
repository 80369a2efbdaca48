"""`/v1/realtime`: what is said is written down while it is said; and `/live`, a page to try it."""

from gateway.listening import Listening
from gateway.realtime import RealtimeSession, error_event
from gateway.schemas.realtime import Writing
from gateway.sockets import SocketContext, SocketOperation
from servekit.errors import InvalidArgument

BETA_HEADER, BETA, BETA_SUBPROTOCOL = "openai-beta", "realtime=v1", "openai-beta.realtime-v1"


async def converse(context: SocketContext) -> None:
    """Open a transcription session: sound as events or as binary frames, its words as events."""
    socket = context.socket
    intent = socket.query_params.get("intent", "transcription")
    if intent != "transcription":
        raise InvalidArgument("a live session is for transcription: intent=transcription", field="intent")
    name = socket.query_params.get("model", "")
    model = context.parts.models.resolve("transcribe", name, context.caller)
    beta = socket.headers.get(BETA_HEADER) == BETA or BETA_SUBPROTOCOL in socket.scope["subprotocols"]
    await context.accept()
    await RealtimeSession(context, Listening(writing=Writing(model, "", "", [])), model, beta=beta).run()


SOCKETS = (
    SocketOperation(
        "/v1/realtime", converse, error_event, "Write down what is said while it is said", seconds="realtime_seconds"
    ),
)
