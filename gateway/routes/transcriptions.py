"""`/v1/audio/transcriptions` and `/v1/audio/translations`: recordings as words."""

from collections.abc import AsyncGenerator

from polyphony.speech.v1.speech_pb2 import (
    TranscribeRequest,
    TranscribeResponse,
    TranscriptionTask,
    VoiceActivityOptions,
)
from polyphony.type.v1.media_pb2 import Media
from starlette.responses import Response

from gateway.bodies import decode
from gateway.endpoint import Context, Operation
from gateway.forms import read_form
from gateway.responses import EventStream
from gateway.schemas.transcriptions import ListeningForm, ServerVad, Transcription, TranscriptionForm, TranslationForm
from gateway.subtitles import MEDIA_TYPES
from gateway.transcript import answer, gather, told
from gateway.uploads import naming_file, upload
from servekit.errors import InvalidArgument, Unavailable

LISTS = ("timestamp_granularities", "include", "hotwords", "keywords", "languages")


async def transcribe(context: Context) -> Response:
    """Write down a recording; a large one is streamed to the object store and heard from there."""
    form, audio = await read_form(
        context.request,
        context.parts.settings.audio_bytes,
        TranscriptionForm,
        lambda part: upload(context, part),
        lists=LISTS,
    )
    _check(form)
    request = _request(context, form, audio)
    request.language = form.language or next(iter(form.languages), "")
    request.word_times = form.response_format in MEDIA_TYPES or "word" in form.timestamp_granularities
    heard = _listen(context, request)
    if form.stream:
        return EventStream(told(heard))
    return await answer(await gather(heard), form.response_format, "transcribe", form.timestamp_granularities)


async def translate(context: Context) -> Response:
    """Write down in English what is said in a recording, whatever the language."""
    form, audio = await read_form(
        context.request,
        context.parts.settings.audio_bytes,
        TranslationForm,
        lambda part: upload(context, part),
        lists=LISTS,
    )
    request = _request(context, form, audio)
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
    if form.stream and form.response_format != "json":
        raise InvalidArgument("a stream has the response_format json", field="stream")


def _request(context: Context, form: ListeningForm, audio: Media) -> TranscribeRequest:
    models = context.parts.models
    return TranscribeRequest(
        audio=audio,
        model=models.resolve("transcribe", form.model, context.caller),
        language=form.language,
        prompt=form.prompt,
        temperature=form.temperature,
        hotwords=[*form.keywords, *form.hotwords],
        voice_activity=_voice_activity(form),
        full_window=form.full_window,
    )


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
    """The events of a transcription, the last one included.

    Raises:
        Unavailable: It broke off.
    """
    finished = False
    with naming_file(task="model", voice_activity="chunking_strategy"):
        async for event in context.parts.clients.speech.Transcribe(request):
            finished = event.HasField("finished")
            yield event
    if not finished:
        raise Unavailable("the transcription broke off", retry_after=1.0)


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
