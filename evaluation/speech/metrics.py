"""Metrics of transcripts, diarization, word times and signal quality.

Transcripts are compared as Whisper's authors compare them: Radford et al., "Robust Speech Recognition via Large-Scale
Weak Supervision", 2022, appendix C; English by their English normaliser (numbers, contractions and spellings are made
alike), every other language by the basic one. Chinese and Japanese write no spaces: each character is a word.
"""

import importlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import jiwer
import numpy as np
from numpy.typing import NDArray
from whisper_normalizer.basic import BasicTextNormalizer
from whisper_normalizer.english import EnglishTextNormalizer

if TYPE_CHECKING:
    from pyannote.core import Annotation

UNSPACED = ("ja", "zh")
RESAMPLES = 1000

Span = tuple[float, float]
"""Start and end in seconds."""


@dataclass(frozen=True)
class EditCounts:
    """The minimum edits between reference and hypothesis, and the number of reference words."""

    edits: int
    words: int

    @property
    def rate(self) -> float:
        """Edits over words; without reference words, 0 for an empty hypothesis, else 1."""
        return self.edits / self.words if self.words else float(bool(self.edits))


@dataclass(frozen=True)
class ErrorRate:
    """A pooled error rate with its 95% bootstrap interval."""

    value: float
    low: float
    high: float


def normalised(text: str, language: str) -> str:
    """A text, normalized for comparison: words, or characters, and single spaces."""
    return " ".join(_normaliser(language)(text).split())


@cache
def _normaliser(language: str) -> Callable[[str], str]:
    normaliser: Callable[[str], str] = (
        EnglishTextNormalizer() if language == "en" else BasicTextNormalizer(split_letters=language in UNSPACED)
    )
    return normaliser


def edits(said: str, written: str, language: str) -> EditCounts:
    """The substitutions, deletions and insertions (S + D + I), and the number of reference words."""
    expected, found = normalised(said, language), normalised(written, language)
    if not expected:
        return EditCounts(len(found.split()), 0)
    counts = jiwer.process_words(expected, found)
    return EditCounts(counts.substitutions + counts.deletions + counts.insertions, len(expected.split()))


def rate(texts: Sequence[EditCounts]) -> ErrorRate:
    """The pooled error rate of texts, with its bootstrap interval over texts.

    Bisani and Ney, "Bootstrap estimates for confidence intervals in ASR performance evaluation", ICASSP 2004.

    Args:
        texts: At least one, with at least one word together.
    """
    return _resampled(texts, lambda drawn: drawn[0].sum(axis=-1) / np.maximum(1, drawn[1].sum(axis=-1)))


def difference(first: Sequence[EditCounts], second: Sequence[EditCounts]) -> ErrorRate:
    """The difference of two error rates on the same texts, by a paired bootstrap."""
    both = [EditCounts(a.edits - b.edits, a.words) for a, b in zip(first, second, strict=True)]
    return rate(both)


def _resampled(texts: Sequence[EditCounts], of: Callable[[NDArray[np.int64]], NDArray[np.float64]]) -> ErrorRate:
    counts = np.array([[text.edits for text in texts], [text.words for text in texts]])
    drawn = np.random.default_rng(0).integers(len(texts), size=(RESAMPLES, len(texts)))
    low, high = np.percentile(of(counts[:, drawn]), [2.5, 97.5])
    return ErrorRate(float(of(counts)), float(low), float(high))


@dataclass(frozen=True)
class DiarizationErrors:
    """Seconds of missed speech, false alarms and speaker confusion, and of reference speech."""

    missed: float
    false_alarm: float
    confused: float
    total: float

    @property
    def rate(self) -> float:
        """The diarization error rate."""
        wrong = self.missed + self.false_alarm + self.confused
        return wrong / self.total if self.total else float(wrong > 0)


def diarization(
    expected: Iterable[tuple[Span, str]],
    found: Iterable[tuple[Span, str]],
    seconds: float,
    collar: float,
    with_overlap: bool = True,
) -> DiarizationErrors:
    """Compare turns with the reference; speakers are matched by the optimal assignment (pyannote.metrics).

    Args:
        expected: Who speaks when.
        found: The same, with any names.
        seconds: The length of the recording.
        collar: Seconds before and after each right boundary that do not count; NIST takes 0.25.
        with_overlap: Whether the time in which several people speak counts.
    """
    from pyannote.core import Segment, Timeline  # with matplotlib and pandas, seconds to import
    from pyannote.metrics.diarization import DiarizationErrorRate

    metric = DiarizationErrorRate(collar=2 * collar, skip_overlap=not with_overlap)
    parts = metric(_annotation(expected), _annotation(found), detailed=True, uem=Timeline([Segment(0, seconds)]))
    names = ("missed detection", "false alarm", "confusion", "total")
    return DiarizationErrors(*(float(parts[name]) for name in names))


def pooled(parts: Sequence[DiarizationErrors]) -> DiarizationErrors:
    """The errors of several recordings, pooled."""
    return DiarizationErrors(
        *(sum(getattr(part, name) for part in parts) for name in DiarizationErrors.__dataclass_fields__)
    )


def _annotation(turns: Iterable[tuple[Span, str]]) -> "Annotation":
    from pyannote.core import Annotation, Segment

    annotation = Annotation()
    for number, ((start, end), speaker) in enumerate(turns):
        annotation[Segment(start, end), number] = speaker
    return annotation


@dataclass(frozen=True)
class TimeOffsets:
    """Absolute errors of times in milliseconds, and the share within 100 ms."""

    median_ms: float
    p95_ms: float
    within_100_ms: float
    words: int


def offsets(expected: Sequence[Span], found: Sequence[Span]) -> TimeOffsets:
    """Errors of the starts and ends of words against the reference.

    Args:
        expected: At least one word.
        found: As many.
    """
    wrong = 1000 * np.abs(np.array(expected) - np.array(found)).ravel()
    median, p95 = np.percentile(wrong, [50, 95])
    return TimeOffsets(float(median), float(p95), float(np.mean(wrong <= 100)), len(expected))


def si_sdr(clean: NDArray[np.float32], heard: NDArray[np.float32]) -> float:
    """Scale-invariant signal-to-distortion ratio, in dB.

    Le Roux et al., "SDR: half-baked or well done?", ICASSP 2019: what of `heard` is `clean` over what is not.

    Args:
        clean: (n,) samples without noise.
        heard: The same in time; the shorter of the two counts.
    """
    count = min(len(clean), len(heard))
    wanted, got = (samples[:count].astype(np.float64) - samples[:count].mean() for samples in (clean, heard))
    target = wanted * np.dot(got, wanted) / np.dot(wanted, wanted)
    return float(10 * np.log10(np.sum(target**2) / np.sum((got - target) ** 2)))


def stoi(clean: NDArray[np.float32], heard: NDArray[np.float32], rate: int) -> float:
    """Short-time objective intelligibility, 0 to 1 (Taal et al., ICASSP 2010)."""
    from pystoi import stoi as pystoi

    count = min(len(clean), len(heard))
    return float(pystoi(clean[:count], heard[:count], rate))


def pesq(clean: NDArray[np.float32], heard: NDArray[np.float32], rate: int) -> float | None:
    """Perceptual evaluation of speech quality, wideband (ITU-T P.862.2), -0.5 to 4.5; None without its package."""
    try:
        package = importlib.import_module("pesq")
    except ImportError:
        return None
    count = min(len(clean), len(heard))
    return float(package.pesq(rate, clean[:count], heard[:count], "wb"))
