"""`/v1/audio/speech`: words as sound."""

import base64
from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec
from polyphony.speech.v1.speech_pb2 import SynthesizeRequest, SynthesizeResponse
from starlette.responses import Response

from gateway.formats.voices import find_voice
from gateway.http.audio_stream import chunks, complete
from gateway.http.bodies import read_json
from gateway.http.endpoint import Context, Operation
from gateway.http.errors import renaming
from gateway.http.responses import ByteStream, EventStream
from gateway.schemas.speech import MIME_TYPES, SpeechDelta, SpeechDone, SpeechRequest, SpeechUsage, VoiceId
from servekit.rpc.errors import InvalidArgument

NAMES = {"text": "input", "mime_type": "response_format"}  # fields of the service, as the body has them
TOKENS_PER_SECOND = 20  # what a second of sound is counted as


async def speak(context: Context) -> Response:
    """Speak a text; the sound is sent as it is made, raw or as events of base64."""
    parts = context.parts
    body = await read_json(context.request, SpeechRequest, parts.settings.body_bytes)
    if body.instructions.strip():
        message = "no voice here follows instructions: choose a voice and a speed"
        raise InvalidArgument(message, field="instructions")
    voice = body.voice.id if isinstance(body.voice, VoiceId) else body.voice
    named = parts.models.resolve("synthesize", body.model, context.caller) if body.model else ""
    with renaming(**NAMES):
        voice, model = await find_voice(parts.clients, voice, named)
    mime_type = MIME_TYPES[body.response_format]
    request = SynthesizeRequest(
        text=body.input,
        model=parts.models.resolve("synthesize", model, context.caller),
        voice=voice,
        speed=body.speed,
        mime_type=mime_type,
        language=body.language,
    )
    events = complete(parts.clients.speech.Synthesize(request), "the speech", **NAMES)
    if body.stream_format == "sse":
        return EventStream(_deltas(events, len(body.input)))
    return ByteStream(chunks(events), mime_type)


async def _deltas(events: AsyncGenerator[SynthesizeResponse], characters: int) -> AsyncGenerator[msgspec.Struct]:
    async with aclosing(events):
        async for event in events:
            if event.HasField("chunk"):
                yield SpeechDelta(base64.b64encode(event.chunk).decode())
            elif event.HasField("finished"):
                sounded = round(event.finished.duration_seconds * TOKENS_PER_SECOND)
                yield SpeechDone(SpeechUsage(characters, sounded, characters + sounded))


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
