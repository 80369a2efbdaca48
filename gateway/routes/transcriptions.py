"""`/v1/audio/transcriptions` and `/v1/audio/translations`: recordings as words."""

from collections.abc import AsyncGenerator

from polyphony.speech.v1.speakers_pb2 import DiarizeRequest
from polyphony.speech.v1.speech_pb2 import (
    TranscribeRequest,
    TranscribeResponse,
    TranscriptionTask,
    VoiceActivityOptions,
)
from polyphony.type.v1.media_pb2 import Media
from starlette.responses import Response

from gateway.formats.speakers import FIELDS as SPEAKER_FIELDS
from gateway.formats.speakers import LISTS as SPEAKER_LISTS
from gateway.formats.speakers import REFERENCE_BYTES, known_speakers
from gateway.formats.subtitles import MEDIA_TYPES
from gateway.formats.transcripts import answer, answer_by_speaker, gather, told, told_by_speaker
from gateway.http.bodies import decode
from gateway.http.endpoint import Context, Operation
from gateway.http.errors import renaming
from gateway.http.responses import EventStream
from gateway.media.uploads import audio_form
from gateway.pipelines.diarized_transcript import diarized_transcript
from gateway.schemas.transcriptions import ListeningForm, ServerVad, Transcription, TranscriptionForm, TranslationForm
from servekit.rpc.errors import InvalidArgument

LISTS = (
    "timestamp_granularities",
    "include",
    "hotwords",
    "keywords",
    "languages",
    *SPEAKER_LISTS,
)
# Fields of the service, as the form has them.
NAMES = {"audio": "file", "task": "model", "voice_activity": "chunking_strategy"}


async def transcribe(context: Context) -> Response:
    """Write down a recording; a large one is streamed to the object store and heard from there."""
    form, audio = await audio_form(context, TranscriptionForm, lists=LISTS, field_bytes=REFERENCE_BYTES)
    _check(form)
    request = _request(form, audio)
    request.model = context.parts.models.resolve("transcribe", form.model, context.caller)
    request.language = form.language or next(iter(form.languages), "")
    request.word_times = form.response_format in MEDIA_TYPES or "word" in form.timestamp_granularities
    if form.response_format == "diarized_json":
        return await _by_speaker(context, form, request)
    heard = _listen(context, request)
    if form.stream:
        return EventStream(told(heard))
    return await answer(await gather(heard), form.response_format, "transcribe", form.timestamp_granularities)


async def translate(context: Context) -> Response:
    """Write down in English what is said in a recording, whatever the language."""
    form, audio = await audio_form(context, TranslationForm, lists=LISTS)
    request = _request(form, audio)
    request.model = context.parts.models.translator(form.model, context.caller)
    request.task = TranscriptionTask.TRANSCRIPTION_TASK_TRANSLATE
    request.word_times = form.response_format in MEDIA_TYPES
    return await answer(await gather(_listen(context, request)), form.response_format, "translate")


def _check(form: TranscriptionForm) -> None:
    """Refuse what goes together with nothing, rather than leave it out in silence."""
    if form.include:
        raise InvalidArgument(
            "the models here tell no log probabilities of tokens; verbose_json has a segment's mean", field="include"
        )
    if len(form.languages) > 1:
        raise InvalidArgument("name one language, or none to have it detected", field="languages")
    if form.timestamp_granularities and form.response_format != "verbose_json":
        raise InvalidArgument("times are told with response_format=verbose_json", field="timestamp_granularities")
    if form.stream and form.response_format not in ("json", "diarized_json"):
        raise InvalidArgument("a stream has the response_format json or diarized_json", field="stream")
    if len(form.known_speaker_names) != len(form.known_speaker_references):
        raise InvalidArgument("each known speaker has a name and a reference", field="known_speaker_references")
    if form.known_speaker_names and form.response_format != "diarized_json":
        raise InvalidArgument("speakers are told with response_format=diarized_json", field="known_speaker_names")


def _request(form: ListeningForm, audio: Media) -> TranscribeRequest:
    return TranscribeRequest(
        audio=audio,
        language=form.language,
        prompt=form.prompt,
        temperature=form.temperature,
        hotwords=[*form.keywords, *form.hotwords],
        voice_activity=_voice_activity(form),
        full_window=form.full_window,
    )


async def _by_speaker(context: Context, form: TranscriptionForm, request: TranscribeRequest) -> Response:
    """What is said and who says it, whole or as a stream of segments."""
    known = known_speakers(form.known_speaker_names, form.known_speaker_references)
    speakers = DiarizeRequest(audio=request.audio, known_speakers=known)
    with renaming(**NAMES, **SPEAKER_FIELDS):
        said = await diarized_transcript(context.parts.clients, request, speakers)
    return EventStream(told_by_speaker(said)) if form.stream else answer_by_speaker(said)


def _voice_activity(form: ListeningForm) -> VoiceActivityOptions:
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


async def _listen(context: Context, request: TranscribeRequest) -> AsyncGenerator[TranscribeResponse]:
    with renaming(**NAMES):
        async for event in context.parts.clients.speech.Transcribe(request):
            yield event


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
        "/v1/audio/translations",
        translate,
        "Write down a recording in English",
        seconds="audio_seconds",
        form=TranslationForm,
        answer=Transcription,
    ),
)
