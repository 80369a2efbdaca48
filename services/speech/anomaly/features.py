"""Features of sounds: statistics of log-mel spectra over segments of about a second."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from servekit.context import CancellationToken
from services.speech.audio import SAMPLE_RATE

FRAME = 512  # 32 ms
HOP = 256
BANDS = 64
LOWEST, HIGHEST = 50.0, 7_800.0  # hertz
SEGMENT = 64  # frames that are rows together: 1.02 s
LEAST_FRAMES = 16  # a quarter of a second; a shorter rest is added to the segment before it
FLOOR = 1e-10  # of power, so that digital silence has a logarithm

REGIONS = 4  # groups of bands, within which positions are ignored
NEIGHBOURS = 9  # bands of the median filter that separates spectral lines
UPPER = BANDS * 3 // 8  # the band from which impacts are measured: 900 Hz

SPECTRUM = 3 * BANDS + 1  # features of the spectrum
LEVEL = SPECTRUM - 1  # the feature of loudness, in bels
SHAPE = 5 * REGIONS * 3 + 8  # features of modulation and lines, independent of the spectrum
FEATURES = SPECTRUM + SHAPE
FORMAT = "logmel64-2"  # the version of the features; detectors of another version are rejected


@dataclass(frozen=True, slots=True)
class SoundFeatures:
    """The features of a recording.

    Attributes:
        features: (segments, `FEATURES`), float32; empty for less than a quarter of a second.
        times: (segments, 2), the start and end of each segment, in seconds.
        seconds: The duration of the recording.
    """

    features: NDArray[np.float32]
    times: NDArray[np.float64]
    seconds: float


def extract_features(chunks: Iterable[NDArray[np.float32]], cancellation: CancellationToken) -> SoundFeatures:
    """Extract the features of a recording while it is decoded.

    Args:
        chunks: (samples,) in [-1, 1] at `SAMPLE_RATE`.
        cancellation: Checked at every chunk and segment.

    Raises:
        Cancelled, DeadlineExceeded: The token was cancelled.
    """
    frames: list[NDArray[np.float32]] = []
    rest = np.zeros(0, np.float32)
    samples = 0
    for chunk in chunks:
        cancellation.raise_if_cancelled()
        samples += len(chunk)
        rest = np.concatenate([rest, chunk])
        if len(rest) >= FRAME:
            frames.append(_log_mel(rest))
            rest = rest[len(frames[-1]) * HOP :]
    spectra = np.concatenate(frames) if frames else np.zeros((0, BANDS), np.float32)
    cuts = _cuts(len(spectra))
    features = []
    for start, end in cuts:
        cancellation.raise_if_cancelled()
        features.append(_features(spectra[start:end]))
    seconds = samples / SAMPLE_RATE
    times = np.array(cuts, np.float64).reshape(-1, 2) * HOP / SAMPLE_RATE
    if cuts:
        times[-1, 1] = seconds
    return SoundFeatures(np.array(features, np.float32).reshape(-1, FEATURES), times, seconds)


def _cuts(frames: int) -> list[tuple[int, int]]:
    if frames < LEAST_FRAMES:
        return []
    starts = list(range(0, max(1, frames - LEAST_FRAMES + 1), SEGMENT))
    return list(zip(starts, [*starts[1:], frames], strict=True))


def _features(spectra: NDArray[np.float32]) -> NDArray[np.float32]:
    """The features of (frames, `BANDS`): `SPECTRUM` features, the last of which is the level, then `SHAPE` features."""
    mean, deviation = spectra.mean(axis=0), spectra.std(axis=0)
    level = mean.mean(keepdims=True)
    change = np.abs(np.diff(spectra, axis=0)).mean(axis=0)
    lines = mean - median_filter(mean, NEIGHBOURS, mode="nearest")
    crest = spectra.max(axis=0) - mean
    peaks = np.sort(spectra - median_filter(spectra, (1, NEIGHBOURS), mode="nearest"), axis=0)
    brief = peaks[-len(peaks) // 4 :].mean(axis=0)  # lines that are present for a quarter of the time
    rows = [mean - level, deviation, change, level]
    rows += [_regions(bands) for bands in (lines, crest, brief, deviation, change)]
    rows += [_course(spectra.mean(axis=1)), _course(spectra[:, UPPER:].mean(axis=1))]
    return np.concatenate(rows)


def _regions(bands: NDArray[np.float32]) -> NDArray[np.float32]:
    """The maximum, the mean of the three highest, and the mean of each region."""
    regions = np.sort(bands.reshape(REGIONS, -1), axis=1)
    return np.concatenate([regions[:, -1], regions[:, -3:].mean(axis=1), regions.mean(axis=1)])


def _course(powers: NDArray[np.float32]) -> NDArray[np.float32]:
    """The peak, skewness, standard deviation and mean change of a power over time."""
    course = powers - powers.mean()
    deviation = course.std()
    skewness = (course**3).mean() / (deviation**3 + 1e-6)
    return np.array([course.max(), skewness, deviation, np.abs(np.diff(course)).mean()], np.float32)


def _log_mel(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """(frames, `BANDS`): the log power of each band in every whole frame."""
    frames = np.lib.stride_tricks.sliding_window_view(samples, FRAME)[::HOP]
    power = np.abs(np.fft.rfft(frames * _WINDOW)) ** 2 / FRAME
    return np.asarray(np.log10(power @ _MEL + FLOOR), np.float32)


def _mel_bands() -> NDArray[np.float32]:
    """Triangles of equal width on the mel scale (O'Shaughnessy, 1987), (frequencies, `BANDS`)."""
    lowest, highest = 2595 * np.log10(1 + np.array([LOWEST, HIGHEST]) / 700)
    edges = 700 * (10 ** (np.linspace(lowest, highest, BANDS + 2) / 2595) - 1)
    hertz = np.fft.rfftfreq(FRAME, 1 / SAMPLE_RATE)[:, None]
    rising = (hertz - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - hertz) / (edges[2:] - edges[1:-1])
    return np.maximum(0, np.minimum(rising, falling)).astype(np.float32)


_WINDOW = np.hanning(FRAME).astype(np.float32)
_MEL = _mel_bands()
