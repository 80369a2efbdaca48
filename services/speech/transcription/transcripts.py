"""Transcripts as messages: what a request asks for, and events as it is answered with."""

from dataclasses import replace

from polyphony.speech.v1 import transcription_pb2 as pb

from servekit.rpc.bounds import within
from servekit.rpc.errors import InvalidArgument, TooLarge
from services.speech.settings import SpeechSettings
from services.speech.spans import span
from services.speech.transcription import Instructions, Segment
from services.speech.transcription.transcription import Finished, Heard, Progress, Started
from services.speech.voice_activity.voice_activity import LEAST_THRESHOLD, NORMAL, Sensitivity

MAX_SILENCE_SECONDS = 10.0
MAX_PADDING_SECONDS = 2.0


def basics_of(request: pb.TranscribeRequest | pb.StreamingConfig, settings: SpeechSettings) -> Instructions:
    """What a recording and a live stream may both say of how they are to be heard.

    Raises:
        TooLarge: The prompt or the hot words are too long.
    """
    most = settings.max_prompt_characters
    for field, length in (("prompt", len(request.prompt)), ("hotwords", sum(map(len, request.hotwords)))):
        if length > most:
            raise TooLarge(f"{length} characters, at most {most} are accepted", field=field)
    return Instructions(
        language=request.language,
        prompt=request.prompt,
        hotwords=tuple(word for word in request.hotwords if word.strip()),
        word_times=request.word_times,
    )


def instructions_of(request: pb.TranscribeRequest, settings: SpeechSettings) -> Instructions:
    """How a recording is to be heard.

    Raises:
        InvalidArgument: The task is none, or the temperature not between 0 and 1.
        TooLarge: As `basics_of` says.
    """
    basics = basics_of(request, settings)
    if request.task not in pb.TranscriptionTask.values():
        raise InvalidArgument(f"there is no task {request.task}; leave it out to transcribe", field="task")
    return replace(
        basics,
        task="translate" if request.task == pb.TRANSCRIPTION_TASK_TRANSLATE else "transcribe",
        temperature=within(request.temperature, 0.0, 1.0, "temperature"),
        full_window=request.full_window,
    )


def sensitivity_of(options: pb.VoiceActivityOptions, field: str = "voice_activity") -> Sensitivity:
    """How speech is to be told from silence; what is zero stands for our own.

    Raises:
        InvalidArgument: A number is outside of its bounds.
    """
    threshold = within(options.threshold or NORMAL.threshold, LEAST_THRESHOLD, 1.0, f"{field}.threshold")
    silence = within(options.min_silence_seconds, 0.0, MAX_SILENCE_SECONDS, f"{field}.min_silence_seconds")
    padding = within(options.padding_seconds, 0.0, MAX_PADDING_SECONDS, f"{field}.padding_seconds")
    return Sensitivity(
        threshold=0.0 if options.disabled else threshold,
        min_silence_seconds=silence or NORMAL.min_silence_seconds,
        padding_seconds=padding or NORMAL.padding_seconds,
    )


def message(event: Heard) -> pb.TranscribeResponse:
    """An event of a transcription."""
    match event:
        case Started(language, probability, model):
            started = pb.TranscriptionStarted(language=language, language_probability=probability, model=model)
            return pb.TranscribeResponse(started=started)
        case Progress(heard, claimed):
            progress = pb.TranscriptionProgress(transcribed_seconds=heard, duration_seconds=claimed)
            return pb.TranscribeResponse(progress=progress)
        case Finished(duration, speech):
            finished = pb.TranscriptionFinished(duration_seconds=duration, speech_seconds=speech)
            return pb.TranscribeResponse(finished=finished)
        case Segment():
            return pb.TranscribeResponse(segment=segment_message(event))


def segment_message(segment: Segment) -> pb.TranscriptSegment:
    """A phrase and its words."""
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
