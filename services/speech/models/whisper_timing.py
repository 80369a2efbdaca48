"""The words that Whisper's cross-attention finds: whole, and at the times when the sound has them.

Attention is on a word a little before it is said, and counts a pause to the word after it. Both were measured on the
evaluation set's voices that tell when they say each word: 0.06 s early at the median.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from servekit.writing import is_spaced
from services.speech.ports.transcriber import Word

EARLY_SECONDS = 0.06
LOUD_SHARE = 0.3  # of the way from the quiet of a window to its speech
LEAST_SECONDS = 0.05  # of a word
FRAMES_PER_SECOND = 100


def joined(found: Sequence[Word]) -> list[Word]:
    """Words as they are written: what has no space before it, as in `cold-hearted` or `9.45`, is of the word before.

    Args:
        found: In order, each with the space before it, if it has one. Where a script writes none they stay as they are.
    """
    words: list[Word] = []
    for part in found:
        text = part.text.strip()
        if words and not part.text[:1].isspace() and is_spaced(words[-1].text, text):
            before = words[-1]
            words[-1] = Word(before.start, part.end, before.text + text, min(before.probability, part.probability))
        else:
            words.append(replace(part, text=text))
    return words


def placed(words: Sequence[Word], mel: NDArray[np.float32]) -> tuple[Word, ...]:
    """Words where they are heard.

    Args:
        words: In order, their times as the attention has them.
        mel: (mels, frames) log-mel energies of the window, `FRAMES_PER_SECOND` of them.
    """
    loudness = mel.max(axis=0)
    quiet, speech = np.percentile(loudness, (5, 90))
    loud = loudness > quiet + LOUD_SHARE * (speech - quiet)
    return tuple(_placed(word, loud) for word in words)


def _placed(word: Word, loud: NDArray[np.bool_]) -> Word:
    """The word, later, and begun and ended with the sound that is in it."""
    last = len(loud) / FRAMES_PER_SECOND
    start, end = min(word.start + EARLY_SECONDS, last), min(word.end + EARLY_SECONDS, last)
    first = round(start * FRAMES_PER_SECOND)
    heard = first + np.flatnonzero(loud[first : round(end * FRAMES_PER_SECOND)])
    if len(heard) and heard[-1] + 1 - heard[0] >= LEAST_SECONDS * FRAMES_PER_SECOND:
        start, end = float(heard[0]) / FRAMES_PER_SECOND, float(heard[-1] + 1) / FRAMES_PER_SECOND
    return replace(word, start=start, end=max(start, end))
