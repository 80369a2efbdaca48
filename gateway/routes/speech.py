"""`/v1/audio/speech`: words as sound."""

from collections.abc import AsyncGenerator

from polyphony.speech.v1.speech_pb2 import SynthesizeRequest
from starlette.responses import Response

from gateway.bodies import read_json
from gateway.endpoint import Context, Operation
from gateway.responses import ByteStream
from gateway.schemas.speech import MIME_TYPES, SpeechRequest
from servekit.errors import ServeError


async def speak(context: Context) -> Response:
    """Speak a text; the sound is sent as it is made."""
    parts = context.parts
    body = await read_json(context.request, SpeechRequest, parts.settings.body_bytes)
    mime_type = MIME_TYPES[body.response_format]
    request = SynthesizeRequest(
        text=body.input,
        model=parts.models.resolve("synthesize", body.model, context.caller),
        voice=body.voice,
        speed=body.speed,
        mime_type=mime_type,
    )

    async def chunks() -> AsyncGenerator[bytes]:
        try:
            async for event in parts.clients.speech.Synthesize(request):
                if event.HasField("chunk"):
                    yield event.chunk
        except ServeError as error:
            error.field = "input" if error.field == "text" else error.field
            raise

    return ByteStream(chunks(), mime_type)


OPERATIONS = (
    Operation(
        "POST",
        "/v1/audio/speech",
        speak,
        "Speak a text",
        seconds="audio_seconds",
        body=SpeechRequest,
        answer_type="audio/*",
    ),
)
