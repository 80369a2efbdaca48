"""Silence taken out of a recording: which parts are kept, and how they are joined."""

from collections.abc import Iterator, Sequence
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from services.speech.audio import SAMPLE_RATE
from services.speech.enhancement import CLEANING_RATE
from services.speech.voice_activity.voice_activity import Span

LONGEST_PAUSE = int(0.6 * CLEANING_RATE)  # up to this a pause belongs to what is said
EDGE = int(0.2 * CLEANING_RATE)  # is left before and after speech, which begins and ends softly
FADE = CLEANING_RATE // 200  # 5 ms at each cut, or it clicks
BYTES = 4  # a sample

_RAMP = (0.5 - 0.5 * np.cos(np.pi * (np.arange(FADE) + 0.5) / FADE)).astype(np.float32)


def kept(speech: Sequence[Span], length: int) -> list[Span]:
    """What stays of a recording.

    Args:
        speech: Where somebody speaks, in order, in samples at `SAMPLE_RATE`.
        length: Of the recording, in samples at `CLEANING_RATE`, as what is returned.
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
    """The spans of a recording one after another, at most a second at once.

    Args:
        whole: Its samples, binary32.
        length: How many there are.
        spans: Which of them, in order.
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
