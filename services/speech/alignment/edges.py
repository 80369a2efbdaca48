"""The edges of words: what a model says of when words begin and end, held against where the sound is silent.

A transcriber tells where its attention moves on to the next word, which is a little before that word is heard, and
gives pauses to the word after them. So every edge is moved by `LEAD_SECONDS`, and one that is near a pause to the
ends of that pause. Pauses are told by level: stretches that are well below speech and not above the noise.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from services.speech.ports.aligner import Place
from services.speech.ports.transcriber import LISTENING_RATE

LEAD_SECONDS = 0.08  # measured: docs/subtitles.md
PAUSE_SECONDS = 0.1  # the shortest; the closure of a consonant is shorter
REACH_SECONDS = 0.35  # how far from a pause an edge may have been told
HOP = LISTENING_RATE // 100
BELOW_SPEECH_DB = 35.0
ABOVE_NOISE_DB = 6.0
LOUDEST_DB = 20.0  # below speech, whatever the noise is: less than this is soft speech


def sharpen(told: Sequence[Place | None], samples: NDArray[np.float32]) -> list[Place | None]:
    """The places of words that follow one another, with sharper edges.

    Args:
        told: In their order; None for those that were not found.
        samples: (samples,) in [-1, 1] at `LISTENING_RATE`, that they are places in.
    """
    places = [place for place in told if place]
    if not places:
        return list(told)
    length = len(samples) / LISTENING_RATE
    edges = np.array([places[0].start, *(place.end for place in places)]) + LEAD_SECONDS
    edges[0] -= LEAD_SECONDS
    ends, starts = edges.copy(), edges.copy()  # of the word before an edge, and of the word after it
    free = np.ones(len(edges), bool)
    for begin, end in sorted(pauses(samples), key=lambda pause: pause[0] - pause[1]):
        distance = np.maximum(np.maximum(begin - edges, edges - end), 0.0)
        nearest = int(np.argmin(np.where(free, distance, np.inf)))
        if free[nearest] and distance[nearest] <= REACH_SECONDS:
            ends[nearest], starts[nearest], free[nearest] = begin, end, False
    sharp: list[Place | None] = []
    now = 0.0
    number = -1
    for place in told:
        if place is None:
            sharp.append(None)
            continue
        number += 1
        start = min(max(float(starts[number]), now), length)
        now = min(max(float(ends[number + 1]), start), length)
        sharp.append(Place(start, now, place.confidence))
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
    found = turns[turns[:, 1] - turns[:, 0] >= PAUSE_SECONDS * LISTENING_RATE / HOP] * HOP / LISTENING_RATE
    return [(float(begin), float(end)) for begin, end in found]
