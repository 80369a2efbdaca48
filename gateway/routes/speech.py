"""`/v1/audio/speech`: speech synthesis."""

import base64
from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec
from polyphony.speech.v1.synthesis_pb2 import SynthesizeRequest, SynthesizeResponse
from starlette.responses import Response

from gateway.field_names import rename_fields
from gateway.formats.voices import find_voice
from gateway.http.bodies import read_json
from gateway.http.endpoint import HandlerContext, Operation
from gateway.http.responses import ByteStream, EventStream
from gateway.schemas.speech import MIME_TYPES, SpeechDelta, SpeechDone, SpeechRequest, SpeechUsage, VoiceId
from gateway.streams import audio_chunks, completed
from servekit.errors import InvalidArgument

NAMES = {"text": "input", "mime_type": "response_format"}  # the caller's names for the fields of the request
TOKENS_PER_SECOND = 20  # of audio, for `usage`


async def speak(context: HandlerContext) -> Response:
    """Synthesize a text. The audio is streamed, as bytes or as server-sent events with base64."""
    state = context.state
    body = await read_json(context.body, SpeechRequest, state.settings.max_json_body_bytes)
    if body.instructions.strip():
        message = "instructions must be empty: no voice follows them; choose a voice and a speed"
        raise InvalidArgument(message, field="instructions")
    voice = body.voice.id if isinstance(body.voice, VoiceId) else body.voice
    named = state.models.resolve("synthesize", body.model, context.caller) if body.model else ""
    with rename_fields(**NAMES):
        voice, model = await find_voice(state.clients, voice, named)
    mime_type = MIME_TYPES[body.response_format]
    request = SynthesizeRequest(
        text=body.input,
        model=state.models.resolve("synthesize", model, context.caller),
        voice=voice,
        speed=body.speed,
        mime_type=mime_type,
        language=body.language,
    )
    events = completed(state.clients.synthesis.Synthesize(request), "speech", **NAMES)
    if body.stream_format == "sse":
        return EventStream(_deltas(events, len(body.input)))
    return ByteStream(audio_chunks(events), mime_type)


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
        "createSpeech",
        speak,
        "Create speech",
        rpc="polyphony.speech.v1.SynthesisService/Synthesize",
        body=SpeechRequest,
        answer_type="audio/*",
    ),
)
