"""Silence trimming: which spans of a recording are kept, and how they are joined."""

from collections.abc import Iterator, Sequence
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from services.speech.audio import SAMPLE_RATE
from services.speech.enhancement import CLEANING_RATE
from services.speech.voice_activity.voice_activity import Span

LONGEST_PAUSE = int(0.6 * CLEANING_RATE)  # longer pauses are trimmed
EDGE = int(0.2 * CLEANING_RATE)  # is kept before and after speech, which begins and ends softly
FADE = CLEANING_RATE // 200  # 5 ms at each cut, to avoid clicks
BYTES = 4  # per sample

_RAMP = (0.5 - 0.5 * np.cos(np.pi * (np.arange(FADE) + 0.5) / FADE)).astype(np.float32)


def kept(speech: Sequence[Span], length: int) -> list[Span]:
    """The spans of a recording to keep, in samples at `CLEANING_RATE`.

    Args:
        speech: The spans of speech in order, in samples at `SAMPLE_RATE`.
        length: The length of the recording in samples at `CLEANING_RATE`.
    """
    scale = CLEANING_RATE // SAMPLE_RATE
    spans: list[Span] = []
    for span in speech:
        start, end = max(0, span.start * scale - EDGE), min(length, span.end * scale + EDGE)
        if spans and start - spans[-1].end <= LONGEST_PAUSE - 2 * EDGE:
            spans[-1] = Span(spans[-1].start, end)
        elif end > start:
            spans.append(Span(start, end))
    return spans


def joined(whole: BinaryIO, length: int, spans: Sequence[Span]) -> Iterator[NDArray[np.float32]]:
    """The samples of the spans one after another, in chunks of at most one second.

    Args:
        whole: The file of the samples of the recording, float32.
        length: The number of samples in the file.
        spans: The spans in order.
    """
    for span in spans:
        for start in range(span.start, span.end, CLEANING_RATE):
            end = min(start + CLEANING_RATE, span.end)
            whole.seek(start * BYTES)
            samples = np.frombuffer(whole.read((end - start) * BYTES), np.float32).copy()
            fade = min(FADE, len(samples))
            if start == span.start > 0:
                samples[:fade] *= _RAMP[:fade]
            if end == span.end < length:
                samples[-fade:] *= _RAMP[:fade][::-1]
            yield samples
