"""`/v1/audio`: recordings as words, words as sound."""

from collections.abc import AsyncGenerator, AsyncIterator

from polyphony.speech.v1.speech_pb2 import SynthesizeRequest, TranscribeRequest, TranscribeResponse
from polyphony.type.v1.media_pb2 import Media
from starlette.responses import PlainTextResponse, Response

from gateway.bodies import read_json
from gateway.endpoint import Context, Operation
from gateway.forms import Part, read_form
from gateway.media import PASSING_SECONDS
from gateway.responses import ByteStream, json_response
from gateway.schemas.audio import (
    MIME_TYPES,
    DurationUsage,
    SpeechRequest,
    SpokenSegment,
    SpokenWord,
    Transcription,
    TranscriptionForm,
    VerboseTranscription,
)
from servekit.errors import InvalidArgument, ServeError, Unavailable


async def transcribe(context: Context) -> Response:
    """Write down a recording; a large one is streamed to the object store and heard from there."""
    parts = context.parts
    form, audio = await read_form(
        context.request,
        parts.settings.audio_bytes,
        TranscriptionForm,
        lambda part: _upload(context, part),
        lists=("timestamp_granularities",),
    )
    if form.stream:
        raise InvalidArgument("a transcription is not streamed here: send stream=false", field="stream")
    request = TranscribeRequest(
        audio=audio,
        model=parts.models.resolve("transcribe", form.model, context.caller),
        language=form.language,
        prompt=form.prompt,
        temperature=form.temperature,
        word_times="word" in form.timestamp_granularities,
    )
    try:
        events = [event async for event in parts.clients.speech.Transcribe(request)]
    except ServeError as error:
        error.field = "file" if error.field.startswith("audio") else error.field
        raise
    if not events or not events[-1].HasField("finished"):
        raise Unavailable("the transcription broke off", retry_after=1.0)
    return _answer(form, events)


async def _upload(context: Context, part: Part) -> Media:
    """The file, in the message if it is small, else by reference."""
    parts = context.parts
    start, pieces = b"", aiter(part)
    async for piece in pieces:
        start += piece
        if len(start) > parts.settings.inline_bytes:
            store, tenant = parts.store, context.caller.tenant
            reference = await store.put(tenant, _joined(start, pieces), part.mime_type, PASSING_SECONDS)
            return Media(mime_type=part.mime_type, reference=reference)
    if not start:
        raise InvalidArgument("the file is empty", field="file")
    return Media(mime_type=part.mime_type, inline=start)


async def _joined(start: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield start
    async for piece in rest:
        yield piece


def _answer(form: TranscriptionForm, events: list[TranscribeResponse]) -> Response:
    segments = [event.segment for event in events if event.HasField("segment")]
    text = " ".join(segment.text.strip() for segment in segments)
    seconds = events[-1].finished.duration_seconds
    if form.response_format == "text":
        return PlainTextResponse(f"{text}\n")
    if form.response_format == "json":
        return json_response(Transcription(text, DurationUsage(seconds)))
    answer = VerboseTranscription(
        task="transcribe",
        language=next((event.started.language for event in events if event.HasField("started")), form.language),
        duration=seconds,
        text=text,
        segments=[
            SpokenSegment(
                number,
                segment.time.start_seconds,
                segment.time.end_seconds,
                segment.text,
                segment.mean_log_probability,
                segment.no_speech_probability,
                form.temperature,
            )
            for number, segment in enumerate(segments)
        ],
        usage=DurationUsage(seconds),
    )
    if "word" in form.timestamp_granularities:
        answer.words = [
            SpokenWord(word.text, word.time.start_seconds, word.time.end_seconds)
            for segment in segments
            for word in segment.words
        ]
    return json_response(answer)


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
        "/v1/audio/transcriptions",
        transcribe,
        "Write down a recording",
        seconds="audio_seconds",
        form=TranscriptionForm,
        answer=Transcription,
    ),
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
