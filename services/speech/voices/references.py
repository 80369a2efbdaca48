"""Recordings that voices are made of: 3 to 30 seconds of somebody speaking, and nothing much beside."""

import asyncio
from dataclasses import dataclass

import numpy as np
from polyphony.type.v1.media_pb2 import Media

from servekit.media.audio_encoder import encode_audio
from servekit.rpc.errors import InvalidArgument
from services.speech.audio import SAMPLE_RATE
from services.speech.audio.recording import Recordings
from services.speech.voice_activity import SpeechDetector
from services.speech.voice_activity.voice_activity import Span, VadOptions, VoiceActivity

LEAST_SECONDS, MOST_SECONDS = 3.0, 30.0  # of speech
MAX_SOUND_SECONDS = 60.0  # of the recording, its silences included
REFERENCE_RATE = 24_000  # what is kept; the models that take on voices hear at no more
SENSITIVITY = VadOptions(min_silence_seconds=0.5, padding_seconds=0.1)


@dataclass(frozen=True, slots=True)
class ReferenceAudio:
    """Somebody speaking.

    Attributes:
        recording: A WAV file, mono, from the first word to the last.
        seconds: Of speech in it.
    """

    recording: bytes
    seconds: float


class References:
    """Reads such recordings.

    Args:
        recordings: Opens them.
        detector: Tells speech from noise.
    """

    def __init__(self, recordings: Recordings, detector: SpeechDetector) -> None:
        self._recordings = recordings
        self._detector = detector

    async def read(self, media: Media, field: str) -> ReferenceAudio:
        """A recording, cut to its speech.

        Raises:
            InvalidArgument: There are no 3 to 30 seconds of speech in it, or it goes on for more than a minute.
        """
        activity = VoiceActivity(self._detector, SENSITIVITY)
        spans: list[Span] = []
        async with self._recordings.open(media, field) as recording:
            length = 0
            async for samples in recording.chunks():
                length += len(samples)
                _check_length(length / SAMPLE_RATE, field)
                spans += await asyncio.to_thread(activity.feed, samples)
            spans += await asyncio.to_thread(activity.finish)
            seconds = sum(map(len, spans)) / SAMPLE_RATE
            if not LEAST_SECONDS <= seconds <= MOST_SECONDS:
                message = f"there are {seconds:.1f} s of speech in the recording; 3 to 30 are needed"
                raise InvalidArgument(message, field=field)
            start, end = spans[0].start / SAMPLE_RATE, spans[-1].end / SAMPLE_RATE
            full = np.concatenate([samples async for samples in recording.chunks(REFERENCE_RATE)])
        kept = full[int(start * REFERENCE_RATE) : int(end * REFERENCE_RATE)]
        wav = await asyncio.to_thread(encode_audio, kept, "audio/wav", REFERENCE_RATE)
        return ReferenceAudio(wav, seconds)


def _check_length(seconds: float, field: str) -> None:
    if seconds > MAX_SOUND_SECONDS:
        raise InvalidArgument(
            f"the recording is longer than {MAX_SOUND_SECONDS:g} s; cut it to its speech", field=field
        )
