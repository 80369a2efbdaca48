"""The beginning of a phrase that is not decoded again: its words stand, so that its sound is of no more use.

As Macháček et al. 2023 trim their sound behind sentences; here behind words, as many a phrase is one long sentence.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from servekit.media.scripts import join
from services.speech.live.agreement import Agreement
from services.speech.live.endpointing import CUT_SECONDS, LONGEST_SECONDS
from services.speech.transcription import LISTENING_RATE, Passage, Segment, Word
from services.speech.voice_activity import STEP

REST_SECONDS = 4.0  # of sound; less is decoded as it is
LEAST_SECONDS = 2.0  # of it that are worth a cut,
SETTLED_SECONDS = 1.5  # and that have to follow one
NEAR_SECONDS = 0.1  # of the time between two words that the model gives is where the one ends and the other begins
CERTAIN_SECONDS = LONGEST_SECONDS - CUT_SECONDS  # of a phrase; what is later may become the next one's


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of a phrase for good.

    Attributes:
        segments: One for each cut, times from the beginning of the phrase's sound.
        end: Where the rest of that sound begins, in samples.
    """

    segments: tuple[Segment, ...] = ()
    end: int = 0

    @property
    def text(self) -> str:
        """What was said."""
        return _text(self.segments)

    def followed_by(self, rest: Passage) -> Passage:
        """The passage of the whole phrase, from that of the rest of its sound."""
        begin = self.end / LISTENING_RATE
        later = (replace(one, start=begin + one.start, end=begin + one.end) for one in rest.segments)
        return replace(rest, segments=(*self.segments, *later))

    def grown(self, sound: NDArray[np.float32], rest: Passage, agreement: Agreement) -> "Kept":
        """With further words, up to where it is quietest between two that are stable.

        Args:
            sound: The rest that was decoded, (samples,).
            rest: What was heard in it; nothing more is kept where its words have no times.
            agreement: Which words are stable.
        """
        seconds, begin = len(sound) / LISTENING_RATE, self.end / LISTENING_RATE
        if seconds < REST_SECONDS:
            return self
        latest = min(seconds - SETTLED_SECONDS, CERTAIN_SECONDS - NEAR_SECONDS - begin)
        words = [word for segment in rest.segments for word in segment.words]
        cuts = [
            (*_quietest(sound, one.end, other.start), count)
            for count, (one, other) in enumerate(pairwise(words), 1)
            if LEAST_SECONDS <= one.end <= other.start <= latest
            and agreement.stable_after(join((self.text, _text(words[:count]))))
        ]
        if not cuts:
            return self
        _, end, count = min(cuts, key=lambda cut: (cut[0], -cut[1]))  # the last of those that are alike
        more = replace(rest.segments[0], end=words[count - 1].end, text=_text(words[:count]), words=())
        return Kept(self.followed_by(replace(rest, segments=(more,))).segments, self.end + end)


def _text(pieces: Sequence[Segment | Word]) -> str:
    return join(piece.text for piece in pieces)


def _quietest(sound: NDArray[np.float32], begin: float, end: float) -> tuple[float, int]:
    """How loud the quietest step near a span of seconds is, and its middle, in samples."""
    first, last = (int(seconds * LISTENING_RATE) for seconds in (begin - NEAR_SECONDS, end + NEAR_SECONDS))
    steps = sound[first:last]
    power = np.square(steps[: len(steps) // STEP * STEP].reshape(-1, STEP)).mean(axis=1)
    quietest = int(np.argmin(power))
    return float(power[quietest]), first + quietest * STEP + STEP // 2
