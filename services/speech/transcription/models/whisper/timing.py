"""Corrects the words and word times of Whisper's cross-attention.

Attention moves to the next word slightly before it is spoken, and assigns pauses to the word after them. So every edge
is moved by `LEAD_SECONDS`, and an edge near a pause is moved to the start and end of that pause. Pauses are detected by
level: well below that of speech, and not above that of the noise.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from servekit.media.scripts import is_spaced
from services.speech.audio import SAMPLE_RATE
from services.speech.transcription import RecognizedWord

LEAD_SECONDS = 0.08  # measured: docs/how-to/subtitles.md
PAUSE_SECONDS = 0.1  # the minimum duration of a pause; the closure of a consonant is shorter
REACH_SECONDS = 0.35  # the maximum distance between an edge and its pause
HOP = SAMPLE_RATE // 100
BELOW_SPEECH_DB = 35.0
ABOVE_NOISE_DB = 6.0
LOUDEST_DB = 20.0  # the minimum difference to speech at any noise level: a higher level is soft speech


def joined(found: Sequence[RecognizedWord]) -> list[RecognizedWord]:
    """Join words without a space between them, such as `cold-hearted` or `9.45`.

    Args:
        found: The words in order, each with its leading space, if any. Words of unspaced scripts are not joined.
    """
    words: list[RecognizedWord] = []
    for part in found:
        text = part.text.strip()
        if words and not part.text[:1].isspace() and is_spaced(words[-1].text, text):
            before = words[-1]
            words[-1] = RecognizedWord(
                before.start, part.end, before.text + text, min(before.probability, part.probability)
            )
        else:
            words.append(replace(part, text=text))
    return words


def sharpened(words: Sequence[RecognizedWord], samples: NDArray[np.float32]) -> list[RecognizedWord]:
    """Correct the times of words: each begins at the end of the one before it, or after a pause.

    Args:
        words: The words in order, with the times by attention.
        samples: The audio of these times, (samples,) in [-1, 1] at `SAMPLE_RATE`.
    """
    if not words:
        return []
    length = len(samples) / SAMPLE_RATE
    edges = np.array([words[0].start, *(word.end for word in words)])
    edges[edges > 0] += LEAD_SECONDS
    ends, starts = (
        edges.copy(),
        edges.copy(),
    )  # the end of the word before each edge, and the start of the word after it
    free = np.ones(len(edges), bool)
    for begin, end in sorted(pauses(samples), key=lambda pause: pause[0] - pause[1]):
        distance = np.maximum(np.maximum(begin - edges, edges - end), 0.0)
        nearest = int(np.argmin(np.where(free, distance, np.inf)))
        if free[nearest] and distance[nearest] <= REACH_SECONDS:
            ends[nearest], starts[nearest], free[nearest] = begin, end, False
    sharp: list[RecognizedWord] = []
    now = 0.0
    for word, begin, end in zip(words, starts[:-1], ends[1:], strict=True):
        start = min(max(float(begin), now), length)
        now = min(max(float(end), start), length)
        sharp.append(replace(word, start=start, end=now))
    return sharp


def pauses(samples: NDArray[np.float32]) -> list[tuple[float, float]]:
    """The start and end in seconds of each pause of at least `PAUSE_SECONDS`."""
    hops = samples[: len(samples) // HOP * HOP].reshape(-1, HOP)
    if not len(hops):
        return []
    level = 10 * np.log10(np.square(hops).mean(axis=1) + 1e-10)
    noise, speech = np.percentile(level, [5, 95])
    quiet = level < min(max(speech - BELOW_SPEECH_DB, noise + ABOVE_NOISE_DB), speech - LOUDEST_DB)
    turns = np.flatnonzero(np.diff(quiet, prepend=False, append=False)).reshape(-1, 2)
    found = turns[turns[:, 1] - turns[:, 0] >= PAUSE_SECONDS * SAMPLE_RATE / HOP] * HOP / SAMPLE_RATE
    return [(float(begin), float(end)) for begin, end in found]
