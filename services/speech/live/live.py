"""Live transcription: what is said is written down while it is said."""

import math
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from polyphony.speech.v1 import transcription_pb2 as pb

from servekit.models.repository import Models
from servekit.rpc.bounds import within
from servekit.rpc.errors import Overloaded, Unavailable
from services.speech.live.endpointing import Endpointer, Endpoints, Phrase
from services.speech.live.following import Final, Follower, Partial
from services.speech.live.pcm import PcmStream
from services.speech.live.stream import Ear, LiveStream
from services.speech.settings import SpeechSettings
from services.speech.spans import span
from services.speech.transcription import LISTENING_RATE, TranscriberScheduler
from services.speech.transcription.transcripts import basics_of
from services.speech.voice_activity import SpeechDetector
from services.speech.voice_activity.voice_activity import LEAST_THRESHOLD

RATES = (8_000, 48_000)
END_SILENCES = (0.2, 3.0)
LONGEST_PADDING = 1.0
CROWDED_SECONDS = 5.0  # what a caller is told to wait while there are too many streams


class LiveTranscription:
    """`StreamingTranscribe`, for every caller.

    Args:
        transcribers: The schedulers that hear.
        detector: Tells speech from silence.
        settings: The limits of a stream.
    """

    def __init__(
        self, transcribers: Models[TranscriberScheduler], detector: SpeechDetector, settings: SpeechSettings
    ) -> None:
        self._transcribers = transcribers
        self._detector = detector
        self._settings = settings
        self._streams: set[LiveStream] = set()
        self._leaving = False

    async def listen(
        self, requests: AsyncIterator[pb.StreamingTranscribeRequest]
    ) -> AsyncGenerator[pb.StreamingTranscribeResponse, None]:
        """Answer one stream.

        Raises:
            InvalidArgument: The config does not come first, comes twice, or has a value that it may not have.
            NotFound: No such model is loaded.
            Overloaded: There are too many streams, or the model has had no time for a complete phrase.
            TooLarge, Cancelled, Unavailable: The stream is too long, has stalled, or the service is stopping;
                the phrase that was being said has been sent.
        """
        if self._leaving:
            raise Unavailable("the service is stopping", retry_after=1.0)
        if len(self._streams) >= self._settings.max_live_streams:
            raise Overloaded(f"{len(self._streams)} live streams are open, no more", retry_after=CROWDED_SECONDS)
        stream = LiveStream(requests, self._settings)
        self._streams.add(stream)
        try:
            async with aclosing(self._answers(stream, await stream.config())) as answers:
                async for answer in answers:
                    yield answer
        finally:
            self._streams.remove(stream)

    async def drain(self) -> None:
        """End every stream after the phrase that is being said, and open no other."""
        self._leaving = True
        for stream in self._streams:
            stream.leave()

    async def _answers(
        self, stream: LiveStream, config: pb.StreamingConfig
    ) -> AsyncGenerator[pb.StreamingTranscribeResponse, None]:
        scheduler = self._transcribers.get(config.model)
        instructions = basics_of(config, self._settings)
        scheduler.model.check(instructions)
        endpoints = _endpoints(config)
        endpointer = Endpointer(endpoints)
        rate = int(_between(config, "sample_rate_hertz", LISTENING_RATE, *RATES))
        pcm = PcmStream(rate)
        ear = Ear(pcm, self._detector.listen())
        follower = Follower(
            scheduler,
            instructions,
            padding=endpoints.padding,
            partial_seconds=math.inf if config.final_only else self._settings.live_interim_interval_seconds,
            overload_seconds=self._settings.live_queue_timeout_seconds,
        )
        yield pb.StreamingTranscribeResponse(started=pb.StreamingStarted(model=scheduler.spec.id))
        async with aclosing(stream.phrases(ear, endpointer)) as phrases:
            async for phrase in phrases:
                yield _begun(phrase)
                async with aclosing(follower.follow(phrase, stream.stirred)) as events:
                    async for event in events:
                        if isinstance(event, Final):
                            yield _final(phrase, event)
                        elif not config.final_only:
                            yield _interim(phrase, event)
        speech = endpointer.speech / LISTENING_RATE
        finished = pb.TranscriptionFinished(duration_seconds=pcm.seconds, speech_seconds=speech)
        yield pb.StreamingTranscribeResponse(finished=finished)


def _between(message: object, field: str, default: float, least: float, most: float, path: str = "") -> float:
    """A field's value, or its default where it is zero.

    Raises:
        InvalidArgument: It is out of its bounds.
    """
    return within(float(getattr(message, field) or default), least, most, path + field)


def _endpoints(config: pb.StreamingConfig) -> Endpoints:
    voice, path, usual = config.voice_activity, "voice_activity.", Endpoints()
    return Endpoints(
        threshold=_between(voice, "threshold", usual.threshold, LEAST_THRESHOLD, 1.0, path),
        end_silence=_between(config, "end_silence_seconds", usual.end_silence, *END_SILENCES),
        padding=_between(voice, "padding_seconds", usual.padding, 0.0, LONGEST_PADDING, path),
        manual=voice.disabled,
    )


def _begun(phrase: Phrase) -> pb.StreamingTranscribeResponse:
    begun = pb.UtteranceStarted(utterance=phrase.number, start_seconds=phrase.speech_start / LISTENING_RATE)
    return pb.StreamingTranscribeResponse(utterance_started=begun)


def _interim(phrase: Phrase, event: Partial) -> pb.StreamingTranscribeResponse:
    interim = pb.InterimTranscript(utterance=phrase.number, committed_text=event.stable, tentative_text=event.unstable)
    return pb.StreamingTranscribeResponse(interim=interim)


def _final(phrase: Phrase, event: Final) -> pb.StreamingTranscribeResponse:
    start, segments = phrase.start / LISTENING_RATE, event.passage.segments
    words = [
        pb.TranscriptWord(
            time=span(start + word.start, start + word.end),
            text=word.text,
            probability=word.probability,
        )
        for segment in segments
        for word in segment.words
    ]
    segment = pb.TranscriptSegment(
        time=span(phrase.speech_start / LISTENING_RATE, phrase.speech_end / LISTENING_RATE),
        text=event.text,
        words=words,
    )
    if segments:
        segment.mean_log_probability = sum(one.mean_log_probability for one in segments) / len(segments)
        segment.no_speech_probability = max(one.no_speech_probability for one in segments)
        segment.temperature = max(one.temperature for one in segments)
        segment.compression_ratio = max(one.compression_ratio for one in segments)
    final = pb.FinalTranscript(
        utterance=phrase.number,
        segment=segment,
        language=event.passage.language,
        latency_ms=round(event.latency * 1000),
    )
    return pb.StreamingTranscribeResponse(final=final)
