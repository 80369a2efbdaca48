"""Fakes of speaker models: the embedding of a voice is its spectrum."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from servekit.context import CancellationToken
from servekit.models.backend import TensorSpec
from servekit.models.backends.fake import FakeBackend
from servekit.models.catalogue import ModelSpec
from servekit.models.faults import Faults
from services.speech.audio import SAMPLE_RATE
from services.speech.diarization import DiarizationInput, DiarizationResult, DiarizedTurn, Embeddings, Partials
from services.speech.settings import SpeechSettings

BANDS = 16


class _Fake:
    """The base of the fakes; a run is a step for the faults."""

    verification_threshold = 0.9

    def __init__(self, spec: ModelSpec) -> None:
        self.faults = Faults(spec)

    def warm(self) -> None:
        """The fake needs no warm-up."""

    def close(self) -> None:
        """The fake holds no resources."""


class FakeSpeakerEncoder(_Fake):
    """Returns the power of a partial in sixteen third-octave bands from 80 Hz."""

    dimensions = BANDS
    partial_samples = SAMPLE_RATE // 2
    clustering_threshold = 0.9

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        float32 = np.dtype(np.float32)
        mel, embedding = TensorSpec("mel", float32, (-1, -1, BANDS)), TensorSpec("embedding", float32, (-1, BANDS))
        self.networks = {"": FakeBackend([mel], [embedding])}

    def prepare(self, request: Partials) -> Partials:
        return request

    def run(self, items: Sequence[Partials], cancellation: CancellationToken) -> Sequence[Embeddings]:
        self.faults.step(cancellation)
        return [_bands(item) for item in items]


class FakeDiarizer(_Fake):
    """Returns turns of two seconds by alternating speakers; silence has no turn."""

    def prepare(self, request: DiarizationInput) -> DiarizationInput:
        return request

    def run(self, items: Sequence[DiarizationInput], cancellation: CancellationToken) -> Sequence[DiarizationResult]:
        self.faults.step(cancellation)
        return [_turns(item) for item in items]


def _bands(partials: Partials) -> NDArray[np.float32]:
    power = np.square(np.abs(np.fft.rfft(partials)))
    edges = 80 * 2 ** (np.arange(BANDS + 1) / 3)
    places = np.searchsorted(edges, np.fft.rfftfreq(partials.shape[1], 1 / SAMPLE_RATE)) - 1
    sums = np.stack([power[:, places == band].sum(axis=1) for band in range(BANDS)], axis=1)
    embeddings = np.sqrt(sums) + 1e-6
    lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
    return np.asarray(embeddings / lengths, np.float32)


def _turns(recording: DiarizationInput) -> DiarizationResult:
    size = 2 * SAMPLE_RATE
    speakers = recording.speakers or min(2, recording.max_speakers)
    turns = [
        DiarizedTurn(
            begin / SAMPLE_RATE, min(begin + size, len(recording.samples)) / SAMPLE_RATE, begin // size % speakers, 0.9
        )
        for begin in range(0, len(recording.samples), size)
        if recording.samples[begin : begin + size].any()
    ]
    return DiarizationResult(tuple(turns), np.eye(speakers, BANDS, dtype=np.float32))


def load_encoder(spec: ModelSpec, settings: SpeechSettings) -> FakeSpeakerEncoder:  # noqa: ARG001
    """Create the fake of a spec."""
    return FakeSpeakerEncoder(spec)


def load_diarizer(spec: ModelSpec, settings: SpeechSettings) -> FakeDiarizer:  # noqa: ARG001
    """Create the fake of a spec."""
    return FakeDiarizer(spec)
