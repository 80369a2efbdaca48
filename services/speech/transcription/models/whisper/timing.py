"""The words that Whisper's cross-attention finds: whole, and at the times when the sound has them.

Attention moves on to the next word a little before that is heard, and gives pauses to the word after them. So every
edge is moved by `LEAD_SECONDS`, and one that is near a pause to the ends of that pause. Pauses are told by level:
stretches that are well below speech and not above the noise.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from servekit.media.scripts import is_spaced
from services.speech.audio import SAMPLE_RATE
from services.speech.transcription import RecognizedWord

LEAD_SECONDS = 0.08  # measured: docs/how-to/subtitles.md
PAUSE_SECONDS = 0.1  # the shortest; the closure of a consonant is shorter
REACH_SECONDS = 0.35  # how far from a pause an edge may have been told
HOP = SAMPLE_RATE // 100
BELOW_SPEECH_DB = 35.0
ABOVE_NOISE_DB = 6.0
LOUDEST_DB = 20.0  # below speech, whatever the noise is: less than this is soft speech


def joined(found: Sequence[RecognizedWord]) -> list[RecognizedWord]:
    """Words as they are written: what has no space before it, as in `cold-hearted` or `9.45`, is of the word before.

    Args:
        found: In order, each with the space before it, if it has one. Where a script writes none they stay as they are.
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
    """Words that follow one another, with sharper edges: each begins where the one before it ends, or after a pause.

    Args:
        words: In order, their times as the attention has them.
        samples: (samples,) in [-1, 1] at `SAMPLE_RATE`, that these are times in.
    """
    if not words:
        return []
    length = len(samples) / SAMPLE_RATE
    edges = np.array([words[0].start, *(word.end for word in words)])
    edges[edges > 0] += LEAD_SECONDS
    ends, starts = edges.copy(), edges.copy()  # of the word before an edge, and of the word after it
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
    """Where it is quiet for `PAUSE_SECONDS` and more, from when to when in seconds."""
    hops = samples[: len(samples) // HOP * HOP].reshape(-1, HOP)
    if not len(hops):
        return []
    level = 10 * np.log10(np.square(hops).mean(axis=1) + 1e-10)
    noise, speech = np.percentile(level, [5, 95])
    quiet = level < min(max(speech - BELOW_SPEECH_DB, noise + ABOVE_NOISE_DB), speech - LOUDEST_DB)
    turns = np.flatnonzero(np.diff(quiet, prepend=False, append=False)).reshape(-1, 2)
    found = turns[turns[:, 1] - turns[:, 0] >= PAUSE_SECONDS * SAMPLE_RATE / HOP] * HOP / SAMPLE_RATE
    return [(float(begin), float(end)) for begin, end in found]
