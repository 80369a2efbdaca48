"""A spectral gate without weights, for platforms that have no runtime of the network.

Noise is reduced in the spectrum of each frame (Boll, IEEE Trans. ASSP 27, 1979). The noise power of each band is
estimated by minimum statistics over about two seconds (Martin, IEEE Trans. SAP 9, 2001), so it may change, and needs no
noise-only beginning. The gain follows a smoothed signal-to-noise ratio, which avoids musical noise (Ephraim and Malah,
IEEE Trans. ASSP 32, 1984).
"""

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d
from scipy.signal import lfilter

from servekit.context import CancellationToken
from servekit.models.catalogue import ModelSpec
from services.speech.enhancement import CLEANING_RATE
from services.speech.settings import SpeechSettings

FRAME = CLEANING_RATE // 50  # 20 ms, with an overlap of one half
HOP = FRAME // 2
BLOCK = 20 * HOP  # 0.2 s: the unit of processing, with one noise estimate
CONTEXT_BLOCKS = 4  # blocks before and after that the noise estimate covers: 1.8 s in total, longer than a word
SMOOTHING = 0.85  # of the power of a band from frame to frame, before the minimum is taken
BAND_WIDTH = 5  # bins over which the power is smoothed
BIAS = 1.6  # the mean power of noise, relative to the minimum of its smoothed power in 1.8 s
RATIO_SMOOTHING = 0.9  # of the signal-to-noise ratio from frame to frame
FLOOR = 10 ** (-20 / 20)  # the minimum gain: complete silence would sound like a fault

_WINDOW = np.sqrt(np.hanning(FRAME + 1)[:-1]).astype(np.float32)  # its squares, overlapped by one half, add up to one
_MIN_POWER = 1e-12  # of power: less is digital silence, which is ignored in the noise estimate

_Samples = NDArray[np.float32]
_Spectra = NDArray[np.complex64]  # (frames, bands) of one block


class SpectralGate:
    """An enhancer without state between calls."""

    def enhance(self, chunks: Iterable[_Samples], cancellation: CancellationToken) -> Iterator[_Samples]:
        counted = _Counted(chunks)
        delay, taken = HOP, 0  # the overlap delays the output by one hop
        for cleaned in _gated(_with_noise(_spectra(_blocks(counted))), cancellation):
            piece = cleaned[delay:][: counted.samples - taken]
            delay, taken = 0, taken + len(piece)
            yield piece

    def warm(self) -> None:
        for _ in self.enhance([np.zeros(BLOCK, np.float32)], CancellationToken()):
            pass

    def close(self) -> None:
        """There are no resources to free."""


class _Counted:
    """Passes chunks on and counts their samples."""

    def __init__(self, chunks: Iterable[_Samples]) -> None:
        self._chunks = chunks
        self.samples = 0

    def __iter__(self) -> Iterator[_Samples]:
        for chunk in self._chunks:
            self.samples += len(chunk)
            yield chunk


def _blocks(chunks: Iterable[_Samples]) -> Iterator[_Samples]:
    """The samples in arrays of `BLOCK`, followed by at least one hop of silence."""
    rest = np.zeros(0, np.float32)
    for chunk in chunks:
        rest = np.concatenate([rest, chunk])
        while len(rest) >= BLOCK:
            yield rest[:BLOCK]
            rest = rest[BLOCK:]
    silent = HOP + -(len(rest) + HOP) % BLOCK
    yield from np.split(np.pad(rest, (0, silent)), (len(rest) + silent) // BLOCK)


def _spectra(blocks: Iterable[_Samples]) -> Iterator[_Spectra]:
    last = np.zeros(HOP, np.float32)
    for block in blocks:
        frames = np.lib.stride_tricks.sliding_window_view(np.concatenate([last, block]), FRAME)[::HOP]
        last = block[-HOP:]
        yield np.fft.rfft(frames * _WINDOW).astype(np.complex64)


def _with_noise(blocks: Iterable[_Spectra]) -> Iterator[tuple[_Spectra, NDArray[np.float32]]]:
    """Each block with the noise power of its bands, (bands,)."""
    minima: deque[NDArray[np.float32]] = deque(maxlen=2 * CONTEXT_BLOCKS + 1)
    waiting: deque[_Spectra] = deque()
    level: NDArray[np.float32] | None = None
    for block in chain(blocks, [None] * CONTEXT_BLOCKS):
        if block is None:
            if len(minima) > CONTEXT_BLOCKS:
                minima.popleft()
        else:
            power = uniform_filter1d(np.abs(block) ** 2, BAND_WIDTH, axis=1)
            level = power[0] * SMOOTHING if level is None else level
            smooth, (level,) = lfilter([1 - SMOOTHING], [1, -SMOOTHING], power, axis=0, zi=level[None])
            minima.append(np.min(smooth, axis=0, where=power > _MIN_POWER, initial=np.inf).astype(np.float32))
            waiting.append(block)
        if waiting and (block is None or len(waiting) > CONTEXT_BLOCKS):
            noise = np.min(minima, axis=0) * BIAS
            yield waiting.popleft(), np.where(np.isfinite(noise), noise, 0).astype(np.float32)


def _gated(
    blocks: Iterable[tuple[_Spectra, NDArray[np.float32]]], cancellation: CancellationToken
) -> Iterator[_Samples]:
    ratio = np.zeros(FRAME // 2 + 1, np.float32)  # the signal-to-noise ratio of the last frame
    overlap = np.zeros(HOP, np.float32)
    for spectra, noise in blocks:
        cancellation.raise_if_cancelled()
        gains = np.empty(spectra.shape, np.float32)
        for gain, above in zip(gains, np.abs(spectra) ** 2 / np.maximum(noise, _MIN_POWER), strict=True):
            expected = RATIO_SMOOTHING * ratio + (1 - RATIO_SMOOTHING) * np.maximum(above - 1, 0)
            np.maximum(expected / (1 + expected), FLOOR, out=gain)
            ratio = gain**2 * above
        frames = np.fft.irfft(spectra * gains).astype(np.float32) * _WINDOW
        halves = frames.reshape(len(frames), 2, HOP)
        ends = np.concatenate([overlap[None], halves[:, 1]])
        overlap = ends[-1]
        yield (halves[:, 0] + ends[:-1]).reshape(-1)


def load(spec: ModelSpec, settings: SpeechSettings) -> SpectralGate:  # noqa: ARG001
    """Create the enhancer; there are no files to load."""
    return SpectralGate()
