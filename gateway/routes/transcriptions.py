"""`/v1/audio/transcriptions` and `/v1/audio/translations`: recordings as text."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Collection

import msgspec
from polyphony.speech.v1.diarization_pb2 import DiarizeRequest
from polyphony.speech.v1.transcription_pb2 import (
    TranscribeRequest,
    TranscribeResponse,
    TranscriptionTask,
    VoiceActivityOptions,
)
from polyphony.type.v1.media_pb2 import Media
from starlette.responses import PlainTextResponse, Response

from gateway.field_names import rename_fields
from gateway.formats.speakers import FIELDS as SPEAKER_FIELDS
from gateway.formats.speakers import LISTS as SPEAKER_LISTS
from gateway.formats.speakers import REFERENCE_BYTES, diarizing_model, known_speakers
from gateway.formats.subtitles import MEDIA_TYPES, subtitles
from gateway.formats.transcripts import (
    DiarizedTranscript,
    Task,
    Transcript,
    gather,
    speaker_segments,
    timed_phrases,
    verbose_transcription,
)
from gateway.http.bodies import decode
from gateway.http.endpoint import HandlerContext, Operation
from gateway.http.intake import audio_form
from gateway.http.responses import Comment, EventStream, json_from_thread, json_response
from gateway.pipelines.diarized_transcript import diarized_transcript
from gateway.schemas.transcriptions import (
    AudioForm,
    DiarizedTranscription,
    DurationUsage,
    ServerVad,
    TextDelta,
    TextDone,
    TranscriptionAnswer,
    TranscriptionForm,
    TranscriptionProgress,
    TranslationForm,
)
from gateway.streams import completed
from servekit.errors import InvalidArgument
from servekit.media.scripts import is_spaced

LISTS = (
    "timestamp_granularities",
    "include",
    "hotwords",
    "keywords",
    "languages",
    *SPEAKER_LISTS,
)
# The caller's names for the fields of the request.
NAMES = {"audio": "file", "task": "model", "voice_activity": "chunking_strategy"}


async def transcribe(context: HandlerContext) -> Response:
    """Transcribe a recording. A large recording is streamed to the object store while it arrives."""
    form, audio = await audio_form(context, TranscriptionForm, lists=LISTS, field_bytes=REFERENCE_BYTES)
    _check(form)
    request = _request(form, audio)
    request.model = context.state.models.resolve("transcribe", form.model, context.caller)
    request.language = form.language or next(iter(form.languages), "")
    request.word_times = form.response_format in MEDIA_TYPES or "word" in form.timestamp_granularities
    if form.response_format == "diarized_json":
        return await _by_speaker(context, form, request)
    events = completed(context.state.clients.transcription.Transcribe(request), "transcription", **NAMES)
    if form.stream:
        return EventStream(_deltas(events))
    transcript = await gather(events)
    return await asyncio.to_thread(
        _response, transcript, form.response_format, "transcribe", form.timestamp_granularities
    )


async def translate(context: HandlerContext) -> Response:
    """Translate the speech of a recording to English text."""
    form, audio = await audio_form(context, TranslationForm, lists=LISTS)
    request = _request(form, audio)
    request.model = context.state.models.translator(form.model, context.caller)
    request.task = TranscriptionTask.TRANSCRIPTION_TASK_TRANSLATE
    request.word_times = form.response_format in MEDIA_TYPES
    events = completed(context.state.clients.transcription.Transcribe(request), "translation", **NAMES)
    return await asyncio.to_thread(_response, await gather(events), form.response_format, "translate")


def _check(form: TranscriptionForm) -> None:
    """Refuse fields that have no effect together, rather than ignore them."""
    if form.include:
        raise InvalidArgument(
            "include must be empty: there are no log probabilities of tokens; verbose_json has the mean of a segment",
            field="include",
        )
    if len(form.languages) > 1:
        raise InvalidArgument("languages must have at most one language; none has it detected", field="languages")
    if form.timestamp_granularities and form.response_format != "verbose_json":
        raise InvalidArgument(
            "timestamp_granularities must be empty unless response_format is verbose_json",
            field="timestamp_granularities",
        )
    if form.stream and form.response_format not in ("json", "diarized_json"):
        raise InvalidArgument("stream must be false unless response_format is json or diarized_json", field="stream")
    if len(form.known_speaker_names) != len(form.known_speaker_references):
        raise InvalidArgument(
            "known_speaker_references must be one for each of known_speaker_names", field="known_speaker_references"
        )
    if form.known_speaker_names and form.response_format != "diarized_json":
        raise InvalidArgument(
            "known_speaker_names must be empty unless response_format is diarized_json", field="known_speaker_names"
        )


def _request(form: AudioForm, audio: Media) -> TranscribeRequest:
    return TranscribeRequest(
        audio=audio,
        language=form.language,
        prompt=form.prompt,
        temperature=form.temperature,
        hotwords=[*form.keywords, *form.hotwords],
        voice_activity=_voice_activity(form),
        full_window=form.full_window,
    )


async def _by_speaker(context: HandlerContext, form: TranscriptionForm, request: TranscribeRequest) -> Response:
    """The diarized transcript, whole or as a stream of segments."""
    known = await known_speakers(form.known_speaker_names, form.known_speaker_references)
    model = diarizing_model(context.state.models, "", context.caller)
    speakers = DiarizeRequest(audio=request.audio, model=model, known_speakers=known)
    with rename_fields(**NAMES, **SPEAKER_FIELDS):
        transcript = await diarized_transcript(context.state.clients, request, speakers)
    return EventStream(_diarized_events(transcript)) if form.stream else await json_from_thread(_diarized, transcript)


def _voice_activity(form: AudioForm) -> VoiceActivityOptions:
    strategy = form.chunking_strategy
    if isinstance(strategy, str):
        if strategy in ("", "auto"):
            return VoiceActivityOptions(disabled=not form.vad_filter)
        try:
            strategy = decode(strategy.encode(), ServerVad)
        except InvalidArgument as error:
            error.field = "chunking_strategy"
            raise
    options = VoiceActivityOptions(disabled=not form.vad_filter or not strategy.threshold, threshold=strategy.threshold)
    if isinstance(strategy.silence_duration_ms, int):
        options.min_silence_seconds = strategy.silence_duration_ms / 1000
    if isinstance(strategy.prefix_padding_ms, int):
        options.padding_seconds = max(strategy.prefix_padding_ms, 1) / 1000  # 0 would be the service's own
    return options


def _response(transcript: Transcript, form: str, task: Task, granularities: Collection[str] = ()) -> Response:
    """A transcript in the `response_format` that was asked for; called in a thread, because its words may be many."""
    if form in MEDIA_TYPES:
        return PlainTextResponse(subtitles(timed_phrases(transcript), form), media_type=MEDIA_TYPES[form])
    if form == "text":
        return PlainTextResponse(f"{transcript.text}\n")
    if form == "json":
        return json_response(TranscriptionAnswer(transcript.text, DurationUsage(transcript.seconds)))
    return json_response(verbose_transcription(transcript, task, granularities))


async def _deltas(events: AsyncIterable[TranscribeResponse]) -> AsyncGenerator[msgspec.Struct | Comment]:
    """The events of a transcription as OpenAI streams them, with the progress in comments between them."""
    text = ""
    async for event in events:
        match event.WhichOneof("event"):
            case "started":
                yield Comment(TranscriptionProgress(0.0, 0.0))
            case "progress":
                yield Comment(
                    TranscriptionProgress(event.progress.transcribed_seconds, event.progress.duration_seconds)
                )
            case "segment":
                if words := event.segment.text.strip():
                    delta = f" {words}" if is_spaced(text, words) else words
                    text += delta
                    yield TextDelta(delta)
            case "finished":
                yield TextDone(text, DurationUsage(event.finished.duration_seconds))


def _diarized(transcript: DiarizedTranscript) -> DiarizedTranscription:
    usage = DurationUsage(transcript.seconds)
    segments = speaker_segments(transcript)
    return DiarizedTranscription("transcribe", transcript.seconds, transcript.text, segments, usage)


async def _diarized_events(transcript: DiarizedTranscript) -> AsyncGenerator[msgspec.Struct | Comment]:
    """The segments as a stream; all are known before the first is sent."""
    for segment in speaker_segments(transcript):
        yield segment
    yield TextDone(transcript.text, DurationUsage(transcript.seconds))


OPERATIONS = (
    Operation(
        "POST",
        "/v1/audio/transcriptions",
        "createTranscription",
        transcribe,
        "Create transcription",
        rpc="polyphony.speech.v1.TranscriptionService/Transcribe",
        form=TranscriptionForm,
        answer=TranscriptionAnswer,
    ),
    Operation(
        "POST",
        "/v1/audio/translations",
        "createTranslation",
        translate,
        "Create translation",
        rpc="polyphony.speech.v1.TranscriptionService/Transcribe",
        form=TranslationForm,
        answer=TranscriptionAnswer,
    ),
)
