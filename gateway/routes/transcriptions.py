"""`/v1/audio/transcriptions`: recordings as words."""

from polyphony.speech.v1.speech_pb2 import TranscribeRequest, TranscribeResponse
from starlette.responses import PlainTextResponse, Response

from gateway.endpoint import Context, Operation
from gateway.forms import read_form
from gateway.responses import json_response
from gateway.schemas.transcriptions import (
    DurationUsage,
    SpokenSegment,
    SpokenWord,
    Transcription,
    TranscriptionForm,
    VerboseTranscription,
)
from gateway.uploads import upload
from servekit.errors import InvalidArgument, ServeError, Unavailable


async def transcribe(context: Context) -> Response:
    """Write down a recording; a large one is streamed to the object store and heard from there."""
    parts = context.parts
    form, audio = await read_form(
        context.request,
        parts.settings.audio_bytes,
        TranscriptionForm,
        lambda part: upload(context, part),
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
)
