"""The ports of speaker diarization: diarizers of whole recordings, and encoders of short windows of speech."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from servekit.models.backend import TensorBackend
from servekit.scheduling.batch import BatchModel
from services.speech.audio import SAMPLE_RATE

Partials = NDArray[np.float32]  # [partials, samples] in [-1, 1] at `SAMPLE_RATE`, of equal length
Embeddings = NDArray[np.float32]  # [partials, dimensions], each of norm 1


@dataclass(frozen=True, slots=True)
class DiarizationInput:
    """A recording to diarize.

    Attributes:
        samples: (samples,) in [-1, 1] at `SAMPLE_RATE`; they may be memory-mapped.
        speakers: The number of speakers; 0 to estimate it.
        max_speakers: The largest number to estimate.
    """

    samples: NDArray[np.float32]
    speakers: int
    max_speakers: int

    @property
    def seconds(self) -> float:
        """The duration of the samples."""
        return len(self.samples) / SAMPLE_RATE


@dataclass(frozen=True, slots=True)
class DiarizedTurn:
    """A turn from `start` to `end` seconds of a speaker, numbered from 0, with a confidence of 0 to 1."""

    start: float
    end: float
    speaker: int
    confidence: float


@dataclass(frozen=True, slots=True)
class DiarizationResult:
    """The turns of each speaker.

    Attributes:
        turns: Ordered by start time; they may overlap.
        embeddings: float32 `[speakers, dimensions]`, of norm 1, one for each speaker.
    """

    turns: tuple[DiarizedTurn, ...]
    embeddings: NDArray[np.float32]


@runtime_checkable
class Diarizer(BatchModel[DiarizationInput, DiarizationInput, DiarizationResult], Protocol):
    """Diarizes a whole recording by itself."""

    @property
    def verification_threshold(self) -> float:
        """The cosine similarity from which embeddings of two recordings belong to one speaker."""


@runtime_checkable
class SpeakerEncoder(BatchModel[Partials, Any, Embeddings], Protocol):
    """Embeds short windows of speech so that windows of one speaker have similar embeddings.

    Partials of several callers run as one batch. The model may run on several threads at once.
    """

    @property
    def dimensions(self) -> int:
        """The size of an embedding."""

    @property
    def partial_samples(self) -> int:
        """The number of samples of a partial."""

    @property
    def clustering_threshold(self) -> float:
        """The cosine similarity from which clusters of one recording belong to one speaker."""

    @property
    def verification_threshold(self) -> float:
        """The cosine similarity from which embeddings of two recordings belong to one speaker."""

    @property
    def networks(self) -> Mapping[str, TensorBackend]:
        """The network alone, under an empty name."""
