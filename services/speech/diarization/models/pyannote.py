"""The pipelines of pyannote.audio, which detect overlapping speech. Not tested with weights, which are gated.

The weights can be downloaded after their terms are accepted, see `load`. The pipelines run on torch, which is in an
extra and is only imported here.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from pyannote.audio import Pipeline

from servekit.context import CancellationToken
from servekit.errors import FailedPrecondition, OutOfMemory
from servekit.models.catalogue import ModelSpec
from services.speech.audio import SAMPLE_RATE
from services.speech.diarization import DiarizationInput, DiarizationResult, DiarizedTurn
from services.speech.settings import SpeechSettings


class Pyannote:
    """A diarizer with one pipeline; runs one recording at a time.

    Args:
        pipeline: The pipeline of pyannote.audio 4, on its device.
        verification_threshold: The minimum cosine similarity of the embeddings of one speaker.
    """

    def __init__(self, pipeline: Any, verification_threshold: float) -> None:
        self._pipeline = pipeline
        self.verification_threshold = verification_threshold

    def warm(self) -> None:
        self.run([DiarizationInput(np.zeros(10 * SAMPLE_RATE, np.float32), 0, 2)], CancellationToken())

    def close(self) -> None:
        self._pipeline = None

    def prepare(self, request: DiarizationInput) -> DiarizationInput:
        return request

    def run(self, items: Sequence[DiarizationInput], cancellation: CancellationToken) -> Sequence[DiarizationResult]:
        return [self._diarize(item, cancellation) for item in items]

    def _diarize(self, recording: DiarizationInput, cancellation: CancellationToken) -> DiarizationResult:
        def check(*_: object, **__: object) -> None:
            """Called by the pipeline after every step and batch."""
            cancellation.raise_if_cancelled()

        cancellation.raise_if_cancelled()
        waveform = torch.from_numpy(np.array(recording.samples, np.float32)[None])
        bounds = (
            {"num_speakers": recording.speakers} if recording.speakers else {"max_speakers": recording.max_speakers}
        )
        try:
            output = self._pipeline({"waveform": waveform, "sample_rate": SAMPLE_RATE}, hook=check, **bounds)
        except torch.cuda.OutOfMemoryError as error:
            raise OutOfMemory("the recording must fit into the memory of the GPU") from error
        speakers = {label: number for number, label in enumerate(output.speaker_diarization.labels())}
        turns = [
            DiarizedTurn(max(0.0, turn.start), min(turn.end, recording.seconds), speakers[label], 1.0)
            for turn, _, label in output.speaker_diarization.itertracks(yield_label=True)
        ]
        embeddings = np.nan_to_num(np.asarray(output.speaker_embeddings, np.float32)[: len(speakers)])
        lengths = np.maximum(np.linalg.norm(embeddings, axis=-1, keepdims=True), 1e-9)
        return DiarizationResult(
            tuple(sorted(turns, key=lambda turn: turn.start)), np.asarray(embeddings / lengths, np.float32)
        )


def load(spec: ModelSpec, settings: SpeechSettings) -> Pyannote:
    """Load a pipeline from the folder of the model, which has config.yaml and the files that it names.

    Options of the spec: `device` (cuda), `verification_threshold` (0.5).

    Raises:
        FailedPrecondition: The folder has no config.yaml.
    """
    folder = spec.folder(settings.models_dir)
    if not (folder / "config.yaml").is_file():
        raise FailedPrecondition(
            f"{spec.id} is gated: accept the terms of {spec.origin}, then download it with your token: "
            f"hf download {spec.origin} --local-dir {folder}"
        )
    pipeline = Pipeline.from_pretrained(folder)
    pipeline.to(torch.device(spec.options.get("device", "cuda")))
    return Pyannote(pipeline, float(spec.options.get("verification_threshold", 0.5)))
