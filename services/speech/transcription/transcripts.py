"""Conversion between messages and transcriptions: options of requests, events of responses."""

from dataclasses import replace

from polyphony.speech.v1 import transcription_pb2 as pb

from servekit.errors import InvalidArgument, TooLarge
from servekit.rpc.bounds import within
from services.speech.settings import SpeechSettings
from services.speech.spans import span
from services.speech.transcription import Segment, TranscriptionOptions
from services.speech.transcription.transcription import (
    TranscriptEvent,
    TranscriptFinished,
    TranscriptProgress,
    TranscriptStarted,
)
from services.speech.voice_activity.voice_activity import DEFAULT_VAD_OPTIONS, MIN_THRESHOLD, VadOptions

MAX_SILENCE_SECONDS = 10.0
MAX_PADDING_SECONDS = 2.0


def shared_options(
    request: pb.TranscribeRequest | pb.StreamingConfig, settings: SpeechSettings
) -> TranscriptionOptions:
    """The options that Transcribe and StreamingTranscribe share.

    Raises:
        TooLarge: The prompt or the hot words are too long.
    """
    most = settings.max_prompt_characters
    for field, length in (("prompt", len(request.prompt)), ("hotwords", sum(map(len, request.hotwords)))):
        if length > most:
            raise TooLarge(f"{field} must have at most {most} characters, got {length}", field=field)
    return TranscriptionOptions(
        language=request.language,
        prompt=request.prompt,
        hotwords=tuple(word for word in request.hotwords if word.strip()),
        word_times=request.word_times,
    )


def transcription_options(request: pb.TranscribeRequest, settings: SpeechSettings) -> TranscriptionOptions:
    """The options of Transcribe.

    Raises:
        InvalidArgument: The task is unknown, or the temperature is not in [0, 1].
        TooLarge: See `shared_options`.
    """
    basics = shared_options(request, settings)
    if request.task not in pb.TranscriptionTask.values():
        raise InvalidArgument(f"task must be TRANSCRIBE or TRANSLATE, got {request.task}", field="task")
    return replace(
        basics,
        task="translate" if request.task == pb.TRANSCRIPTION_TASK_TRANSLATE else "transcribe",
        temperature=within(request.temperature, 0.0, 1.0, "temperature"),
        full_window=request.full_window,
    )


def vad_options_of(options: pb.VoiceActivityOptions, field: str = "voice_activity") -> VadOptions:
    """The options of voice activity detection; zero selects the default.

    Raises:
        InvalidArgument: An option is out of range.
    """
    threshold = within(options.threshold or DEFAULT_VAD_OPTIONS.threshold, MIN_THRESHOLD, 1.0, f"{field}.threshold")
    silence = within(options.min_silence_seconds, 0.0, MAX_SILENCE_SECONDS, f"{field}.min_silence_seconds")
    padding = within(options.padding_seconds, 0.0, MAX_PADDING_SECONDS, f"{field}.padding_seconds")
    return VadOptions(
        threshold=0.0 if options.disabled else threshold,
        min_silence_seconds=silence or DEFAULT_VAD_OPTIONS.min_silence_seconds,
        padding_seconds=padding or DEFAULT_VAD_OPTIONS.padding_seconds,
    )


def message(event: TranscriptEvent) -> pb.TranscribeResponse:
    """An event as a message."""
    match event:
        case TranscriptStarted(language, probability, model):
            started = pb.TranscriptionStarted(language=language, language_probability=probability, model=model)
            return pb.TranscribeResponse(started=started)
        case TranscriptProgress(position, claimed):
            progress = pb.TranscriptionProgress(transcribed_seconds=position, duration_seconds=claimed)
            return pb.TranscribeResponse(progress=progress)
        case TranscriptFinished(duration, speech):
            finished = pb.TranscriptionFinished(duration_seconds=duration, speech_seconds=speech)
            return pb.TranscribeResponse(finished=finished)
        case Segment():
            return pb.TranscribeResponse(segment=segment_message(event))


def segment_message(segment: Segment) -> pb.TranscriptSegment:
    """A segment as a message."""
    words = [
        pb.TranscriptWord(time=span(word.start, word.end), text=word.text, probability=word.probability)
        for word in segment.words
    ]
    return pb.TranscriptSegment(
        time=span(segment.start, segment.end),
        text=segment.text,
        mean_log_probability=segment.mean_log_probability,
        no_speech_probability=segment.no_speech_probability,
        words=words,
        temperature=segment.temperature,
        compression_ratio=segment.compression_ratio,
    )
