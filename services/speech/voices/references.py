"""The reference recordings of custom voices: 3 to 30 seconds of speech of one speaker."""

import asyncio
from dataclasses import dataclass

import numpy as np
from polyphony.type.v1.media_pb2 import Media

from servekit.errors import InvalidArgument
from servekit.media.audio_encoder import encode_audio
from services.speech.audio import SAMPLE_RATE
from services.speech.audio.recording import Recordings
from services.speech.voice_activity import SpeechDetector
from services.speech.voice_activity.voice_activity import Span, VadOptions, VoiceActivity

MIN_SPEECH_SECONDS, MAX_SPEECH_SECONDS = 3.0, 30.0  # of speech
MAX_RECORDING_SECONDS = 60.0  # of the recording, with silence
REFERENCE_RATE = 24_000  # of the stored recording; no cloning model uses a higher rate
VAD_OPTIONS = VadOptions(min_silence_seconds=0.5, padding_seconds=0.1)


@dataclass(frozen=True, slots=True)
class ReferenceAudio:
    """A reference recording.

    Attributes:
        recording: A WAV file, mono, from the first word to the last.
        seconds: The duration of the speech in it.
    """

    recording: bytes
    seconds: float


class References:
    """Reads reference recordings.

    Args:
        recordings: Opens recordings.
        detector: Detects speech.
    """

    def __init__(self, recordings: Recordings, detector: SpeechDetector) -> None:
        self._recordings = recordings
        self._detector = detector

    async def read(self, media: Media, field: str) -> ReferenceAudio:
        """Read a recording, and trim it to its speech.

        Raises:
            InvalidArgument: It does not have 3 to 30 seconds of speech, or is longer than a minute.
        """
        activity = VoiceActivity(self._detector, VAD_OPTIONS)
        spans: list[Span] = []
        async with self._recordings.open(media, field) as recording:
            length = 0
            async for samples in recording.chunks():
                length += len(samples)
                _check_length(length / SAMPLE_RATE, field)
                spans += await asyncio.to_thread(activity.feed, samples)
            spans += await asyncio.to_thread(activity.finish)
            seconds = sum(map(len, spans)) / SAMPLE_RATE
            if not MIN_SPEECH_SECONDS <= seconds <= MAX_SPEECH_SECONDS:
                message = f"the recording must have 3 to 30 s of speech, got {seconds:.1f} s"
                raise InvalidArgument(message, field=field)
            start, end = spans[0].start / SAMPLE_RATE, spans[-1].end / SAMPLE_RATE
            full = np.concatenate([samples async for samples in recording.chunks(REFERENCE_RATE)])
        kept = full[int(start * REFERENCE_RATE) : int(end * REFERENCE_RATE)]
        wav = await asyncio.to_thread(encode_audio, kept, "audio/wav", REFERENCE_RATE)
        return ReferenceAudio(wav, seconds)


def _check_length(seconds: float, field: str) -> None:
    if seconds > MAX_RECORDING_SECONDS:
        raise InvalidArgument(
            f"the recording must be at most {MAX_RECORDING_SECONDS:g} s long: cut it to its speech", field=field
        )
