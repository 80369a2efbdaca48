"""A spectral gate, for machines that have no runtime of the network: numbers alone, no weights.

Noise is subtracted in the spectrum, frame by frame (Boll, IEEE Trans. ASSP 27, 1979). How much there is of it is told
from the quietest moments of the seconds around, band by band (minimum statistics: Martin, IEEE Trans. SAP 9, 2001), so
it may change, and need not stand alone at the beginning. The gain follows a smoothed ratio of speech to noise, which
spares the ear musical noise (Ephraim and Malah, IEEE Trans. ASSP 32, 1984).
"""

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d
from scipy.signal import lfilter

from servekit.models.catalogue import ModelSpec
from servekit.rpc.context import CancellationToken
from services.speech.enhancement import CLEANING_RATE
from services.speech.settings import SpeechSettings

FRAME = CLEANING_RATE // 50  # 20 ms, every one half over the last
HOP = FRAME // 2
BLOCK = 20 * HOP  # 0.2 s: what is worked on at once, and has one estimate of the noise
AROUND = 4  # blocks before and after whose quietest moment is the noise: 1.8 s together, longer than words last
SMOOTHING = 0.85  # of a band's power from frame to frame, before its least is sought
BAND_WIDTH = 5  # bins that it is smoothed over
BIAS = 1.6  # the mean of noise over the least of its smoothed power in 1.8 s
MEMORY = 0.9  # of the ratio of speech to noise from frame to frame
FLOOR = 10 ** (-20 / 20)  # what is left of noise: none at all sounds like a fault

_WINDOW = np.sqrt(np.hanning(FRAME + 1)[:-1]).astype(np.float32)  # squared and half over, they add up to one
_LEAST = 1e-12  # of power: what is below is digital silence, which says nothing of the noise

_Samples = NDArray[np.float32]
_Spectra = NDArray[np.complex64]  # (frames, bands) of one block


class SpectralGate:
    """Keeps nothing between calls."""

    def enhance(self, chunks: Iterable[_Samples], cancellation: CancellationToken) -> Iterator[_Samples]:
        given = _Counted(chunks)
        late, taken = HOP, 0  # a sample is through when the frame that begins with it is
        for cleaned in _gated(_with_noise(_spectra(_blocks(given))), cancellation):
            piece = cleaned[late:][: given.samples - taken]
            late, taken = 0, taken + len(piece)
            yield piece

    def warm(self) -> None:
        for _ in self.enhance([np.zeros(BLOCK, np.float32)], CancellationToken()):
            pass

    def close(self) -> None:
        """Nothing is held."""


class _Counted:
    """Passes samples on, and counts them."""

    def __init__(self, chunks: Iterable[_Samples]) -> None:
        self._chunks = chunks
        self.samples = 0

    def __iter__(self) -> Iterator[_Samples]:
        for chunk in self._chunks:
            self.samples += len(chunk)
            yield chunk


def _blocks(chunks: Iterable[_Samples]) -> Iterator[_Samples]:
    """The same samples by `BLOCK`, and one hop of silence or more."""
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
    """Each block with the power of the noise in its bands, (bands,)."""
    quietest: deque[NDArray[np.float32]] = deque(maxlen=2 * AROUND + 1)
    waiting: deque[_Spectra] = deque()
    level: NDArray[np.float32] | None = None
    for block in chain(blocks, [None] * AROUND):
        if block is None:
            if len(quietest) > AROUND:
                quietest.popleft()
        else:
            power = uniform_filter1d(np.abs(block) ** 2, BAND_WIDTH, axis=1)
            level = power[0] * SMOOTHING if level is None else level
            smooth, (level,) = lfilter([1 - SMOOTHING], [1, -SMOOTHING], power, axis=0, zi=level[None])
            quietest.append(np.min(smooth, axis=0, where=power > _LEAST, initial=np.inf).astype(np.float32))
            waiting.append(block)
        if waiting and (block is None or len(waiting) > AROUND):
            noise = np.min(quietest, axis=0) * BIAS
            yield waiting.popleft(), np.where(np.isfinite(noise), noise, 0).astype(np.float32)


def _gated(
    blocks: Iterable[tuple[_Spectra, NDArray[np.float32]]], cancellation: CancellationToken
) -> Iterator[_Samples]:
    ratio = np.zeros(FRAME // 2 + 1, np.float32)  # of speech to noise in the last frame
    overlap = np.zeros(HOP, np.float32)
    for spectra, noise in blocks:
        cancellation.raise_if_cancelled()
        gains = np.empty(spectra.shape, np.float32)
        for gain, above in zip(gains, np.abs(spectra) ** 2 / np.maximum(noise, _LEAST), strict=True):
            expected = MEMORY * ratio + (1 - MEMORY) * np.maximum(above - 1, 0)
            np.maximum(expected / (1 + expected), FLOOR, out=gain)
            ratio = gain**2 * above
        frames = np.fft.irfft(spectra * gains).astype(np.float32) * _WINDOW
        halves = frames.reshape(len(frames), 2, HOP)
        ends = np.concatenate([overlap[None], halves[:, 1]])
        overlap = ends[-1]
        yield (halves[:, 0] + ends[:-1]).reshape(-1)


def load(spec: ModelSpec, settings: SpeechSettings) -> SpectralGate:  # noqa: ARG001
    """There is nothing to load."""
    return SpectralGate()
