"""Live transcription: the RPC StreamingTranscribe."""

import math
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from polyphony.speech.v1 import transcription_pb2 as pb

from servekit.errors import Overloaded, Unavailable
from servekit.rpc.bounds import within
from servekit.tasks.repository import Models
from services.speech.audio import SAMPLE_RATE
from services.speech.live.endpointing import Endpointer, EndpointingOptions, Utterance
from services.speech.live.incremental_decoder import FinalResult, IncrementalDecoder, InterimResult
from services.speech.live.pcm import PcmStream
from services.speech.live.stream import LiveStream, StreamingVad
from services.speech.settings import SpeechSettings
from services.speech.spans import span
from services.speech.transcription import TranscriberScheduler
from services.speech.transcription.transcripts import shared_options
from services.speech.voice_activity import SpeechDetector
from services.speech.voice_activity.voice_activity import MIN_THRESHOLD

RATES = (8_000, 48_000)
END_SILENCES = (0.2, 3.0)
LONGEST_PADDING = 1.0
CROWDED_SECONDS = 5.0  # retry delay while there are too many streams


class LiveTranscription:
    """Transcribes live streams.

    Args:
        transcribers: The schedulers of the transcribers.
        detector: Detects speech.
        settings: The limits of a stream.
    """

    def __init__(
        self, transcribers: Models[TranscriberScheduler], detector: SpeechDetector, settings: SpeechSettings
    ) -> None:
        self._transcribers = transcribers
        self._detector = detector
        self._settings = settings
        self._streams: set[LiveStream] = set()
        self._stopping = False

    async def transcribe(
        self, requests: AsyncIterator[pb.StreamingTranscribeRequest]
    ) -> AsyncGenerator[pb.StreamingTranscribeResponse, None]:
        """Transcribe one stream.

        Raises:
            InvalidArgument: The config is not the first message, comes twice, or has an invalid value.
            NotFound: No such model is loaded.
            Overloaded: There are too many streams, or the queue stayed full for a finished utterance.
            TooLarge, Cancelled, Unavailable: The stream is too long, is idle, or the service is stopping; raised after
                the result of the current utterance.
        """
        if self._stopping:
            raise Unavailable("the service is stopping", retry_after=1.0)
        if len(self._streams) >= self._settings.max_live_streams:
            raise Overloaded(f"too many live streams ({len(self._streams)})", retry_after=CROWDED_SECONDS)
        stream = LiveStream(requests, self._settings)
        self._streams.add(stream)
        try:
            async with aclosing(self._answers(stream, await stream.config())) as answers:
                async for answer in answers:
                    yield answer
        finally:
            self._streams.remove(stream)

    async def drain(self) -> None:
        """End every stream after its current utterance, and reject new ones."""
        self._stopping = True
        for stream in self._streams:
            stream.stop()

    async def _answers(
        self, stream: LiveStream, config: pb.StreamingConfig
    ) -> AsyncGenerator[pb.StreamingTranscribeResponse, None]:
        scheduler = self._transcribers.get(config.model)
        options = shared_options(config, self._settings)
        scheduler.model.check(options)
        endpointing = _endpointing(config)
        endpointer = Endpointer(endpointing)
        rate = int(_between(config, "sample_rate_hertz", SAMPLE_RATE, *RATES))
        pcm = PcmStream(rate)
        vad = StreamingVad(pcm, self._detector.stream())
        decoder = IncrementalDecoder(
            scheduler,
            options,
            padding=endpointing.padding,
            interim_seconds=math.inf if config.final_only else self._settings.live_interim_interval_seconds,
            overload_seconds=self._settings.live_queue_timeout_seconds,
        )
        yield pb.StreamingTranscribeResponse(started=pb.StreamingStarted(model=scheduler.spec.id))
        async with aclosing(stream.utterances(vad, endpointer)) as utterances:
            async for utterance in utterances:
                yield _started(utterance)
                async with aclosing(decoder.decode(utterance, stream.changed)) as events:
                    async for event in events:
                        if isinstance(event, FinalResult):
                            yield _final(utterance, event)
                        elif not config.final_only:
                            yield _interim(utterance, event)
        speech = endpointer.speech / SAMPLE_RATE
        finished = pb.TranscriptionFinished(duration_seconds=pcm.seconds, speech_seconds=speech)
        yield pb.StreamingTranscribeResponse(finished=finished)


def _between(message: object, field: str, default: float, least: float, most: float, path: str = "") -> float:
    """A field's value, or its default where it is zero.

    Raises:
        InvalidArgument: It is out of its bounds.
    """
    return within(float(getattr(message, field) or default), least, most, path + field)


def _endpointing(config: pb.StreamingConfig) -> EndpointingOptions:
    voice, path, usual = config.voice_activity, "voice_activity.", EndpointingOptions()
    return EndpointingOptions(
        threshold=_between(voice, "threshold", usual.threshold, MIN_THRESHOLD, 1.0, path),
        end_silence=_between(config, "end_silence_seconds", usual.end_silence, *END_SILENCES),
        padding=_between(voice, "padding_seconds", usual.padding, 0.0, LONGEST_PADDING, path),
        manual=voice.disabled,
    )


def _started(utterance: Utterance) -> pb.StreamingTranscribeResponse:
    begun = pb.UtteranceStarted(utterance=utterance.number, start_seconds=utterance.speech_start / SAMPLE_RATE)
    return pb.StreamingTranscribeResponse(utterance_started=begun)


def _interim(utterance: Utterance, event: InterimResult) -> pb.StreamingTranscribeResponse:
    interim = pb.InterimTranscript(
        utterance=utterance.number, committed_text=event.committed, tentative_text=event.tentative
    )
    return pb.StreamingTranscribeResponse(interim=interim)


def _final(utterance: Utterance, event: FinalResult) -> pb.StreamingTranscribeResponse:
    start, segments = utterance.start / SAMPLE_RATE, event.result.segments
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
        time=span(utterance.speech_start / SAMPLE_RATE, utterance.speech_end / SAMPLE_RATE),
        text=event.text,
        words=words,
    )
    if segments:
        segment.mean_log_probability = sum(one.mean_log_probability for one in segments) / len(segments)
        segment.no_speech_probability = max(one.no_speech_probability for one in segments)
        segment.temperature = max(one.temperature for one in segments)
        segment.compression_ratio = max(one.compression_ratio for one in segments)
    final = pb.FinalTranscript(
        utterance=utterance.number,
        segment=segment,
        language=event.result.language,
        latency_ms=round(event.latency * 1000),
    )
    return pb.StreamingTranscribeResponse(final=final)
