"""The RPC Enhance: suppresses noise, normalizes loudness and trims silence."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing

from polyphony.speech.v1 import enhancement_pb2 as pb

from servekit.context import CancellationToken
from servekit.errors import Unimplemented
from servekit.media.audio_encoder import AudioEncoder
from servekit.rpc.bounds import LOUDNESS_LUFS, within
from servekit.scheduling.stream import StreamScheduler
from servekit.tasks.repository import Models
from services.speech.audio.recording import Recordings
from services.speech.enhancement import CLEANING_RATE, Enhancer
from services.speech.enhancement.cleaning import Cleaning
from services.speech.spans import span
from services.speech.voice_activity import SpeechDetector


class SpeechEnhancement:
    """Enhances recordings.

    Args:
        enhancers: The schedulers of the enhancers.
        detector: Detects speech.
        recordings: Opens recordings.
        max_seconds: The maximum duration of a recording.
    """

    def __init__(
        self,
        enhancers: Models[StreamScheduler[Enhancer]],
        detector: SpeechDetector,
        recordings: Recordings,
        max_seconds: float,
    ) -> None:
        self._enhancers = enhancers
        self._detector = detector
        self._recordings, self._max_seconds = recordings, max_seconds

    async def enhance(self, request: pb.EnhanceRequest) -> AsyncGenerator[pb.EnhanceResponse]:
        """Enhance a recording.

        Raises:
            InvalidArgument: The recording, the MIME type or the loudness is invalid.
            NotFound: No such model is loaded, or there is no such object.
            Unimplemented: The profile has no enhancer.
        """
        if not tuple(self._enhancers):
            raise Unimplemented("this profile has no enhancer; the embedded profile has one")
        scheduler = self._enhancers.get(request.model)
        loudness = _loudness(request)
        encoder = AudioEncoder(request.mime_type or "audio/wav", CLEANING_RATE)
        async with self._recordings.open(request.audio, "audio", self._max_seconds) as recording:

            def clean(model: Enhancer, cancellation: CancellationToken) -> Iterator[pb.EnhanceResponse]:
                enhancer = None if request.keep_noise else model
                name = scheduler.spec.id if enhancer else ""
                yield pb.EnhanceResponse(
                    started=pb.EnhancementStarted(
                        mime_type=encoder.mime_type, sample_rate_hertz=encoder.sample_rate, model=name
                    )
                )
                cleaning = Cleaning(self._detector, enhancer, loudness, trims=request.trim_silence)
                for samples in cleaning.run(recording.samples(CLEANING_RATE), cancellation):
                    if chunk := encoder.encode(samples):
                        yield pb.EnhanceResponse(chunk=chunk)
                if chunk := encoder.finish():
                    yield pb.EnhanceResponse(chunk=chunk)
                yield pb.EnhanceResponse(finished=_finished(cleaning))

            cost = min(max(recording.claimed_seconds, 1.0), self._max_seconds)
            async with aclosing(scheduler.stream(clean, cost)) as events:
                async for event in events:
                    yield event


def _loudness(request: pb.EnhanceRequest) -> float | None:
    if not request.HasField("loudness_lufs"):
        return None
    return within(request.loudness_lufs, *LOUDNESS_LUFS, "loudness_lufs")


def _finished(cleaning: Cleaning) -> pb.EnhancementFinished:
    return pb.EnhancementFinished(
        duration_before_seconds=cleaning.length / CLEANING_RATE,
        duration_after_seconds=sum(map(len, cleaning.kept)) / CLEANING_RATE,
        snr_before_db=cleaning.snr_before_db,
        snr_after_db=cleaning.snr_after_db,
        loudness_before_lufs=cleaning.loudness_before,
        loudness_after_lufs=cleaning.loudness_after,
        kept=[span(kept.start / CLEANING_RATE, kept.end / CLEANING_RATE) for kept in cleaning.kept],
    )
