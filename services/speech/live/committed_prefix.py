"""The beginning of an utterance whose words are committed, and whose audio is not decoded again.

Macháček et al. 2023 trim the audio after sentences; here it is trimmed after words, as an utterance may be one long
sentence.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from servekit.media.scripts import join
from services.speech.audio import SAMPLE_RATE
from services.speech.live.endpointing import CUT_SECONDS, MAX_SECONDS
from services.speech.live.local_agreement import LocalAgreement
from services.speech.transcription import RecognizedWord, Segment, WindowResult
from services.speech.voice_activity import STEP

REST_SECONDS = 4.0  # audio shorter than this is not trimmed
MIN_TRIM_SECONDS = 2.0  # the shortest audio that is trimmed
SETTLED_SECONDS = 1.5  # the audio that must follow a cut
NEAR_SECONDS = 0.1  # the tolerance of the model's word times
CERTAIN_SECONDS = MAX_SECONDS - CUT_SECONDS  # later audio may be cut into the next utterance


@dataclass(frozen=True, slots=True)
class CommittedPrefix:
    """The trimmed beginning of an utterance.

    Attributes:
        segments: One segment for each cut; times count from the start of the utterance.
        end: The start of the remaining audio, in samples.
    """

    segments: tuple[Segment, ...] = ()
    end: int = 0

    @property
    def text(self) -> str:
        """The text of the segments."""
        return _text(self.segments)

    def followed_by(self, rest: WindowResult) -> WindowResult:
        """The result of the whole utterance, given that of the remaining audio."""
        begin = self.end / SAMPLE_RATE
        later = (replace(one, start=begin + one.start, end=begin + one.end) for one in rest.segments)
        return replace(rest, segments=(*self.segments, *later))

    def extended(self, sound: NDArray[np.float32], rest: WindowResult, agreement: LocalAgreement) -> "CommittedPrefix":
        """The prefix extended to the quietest moment between two committed words.

        Args:
            sound: The remaining audio that was decoded, (samples,).
            rest: Its result; the prefix is not extended where its words have no times.
            agreement: The committed words.
        """
        seconds, begin = len(sound) / SAMPLE_RATE, self.end / SAMPLE_RATE
        if seconds < REST_SECONDS:
            return self
        latest = min(seconds - SETTLED_SECONDS, CERTAIN_SECONDS - NEAR_SECONDS - begin)
        words = [word for segment in rest.segments for word in segment.words]
        cuts = [
            (*_quietest(sound, one.end, other.start), count)
            for count, (one, other) in enumerate(pairwise(words), 1)
            if MIN_TRIM_SECONDS <= one.end <= other.start <= latest
            and agreement.committed_after(join((self.text, _text(words[:count]))))
        ]
        if not cuts:
            return self
        _, end, count = min(cuts, key=lambda cut: (cut[0], -cut[1]))  # the last of equally quiet ones
        more = replace(rest.segments[0], end=words[count - 1].end, text=_text(words[:count]), words=())
        return CommittedPrefix(self.followed_by(replace(rest, segments=(more,))).segments, self.end + end)


def _text(pieces: Sequence[Segment | RecognizedWord]) -> str:
    return join(piece.text for piece in pieces)


def _quietest(sound: NDArray[np.float32], begin: float, end: float) -> tuple[float, int]:
    """The power of the quietest step near a span in seconds, and the middle of that step in samples."""
    first, last = (int(seconds * SAMPLE_RATE) for seconds in (begin - NEAR_SECONDS, end + NEAR_SECONDS))
    steps = sound[first:last]
    power = np.square(steps[: len(steps) // STEP * STEP].reshape(-1, STEP)).mean(axis=1)
    quietest = int(np.argmin(power))
    return float(power[quietest]), first + quietest * STEP + STEP // 2
