"""pyannote's adapter on stand-ins for torch and the pipeline: the classes and calls of pyannote.audio 4."""

import importlib
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from pyannote.core import Annotation, Segment

from servekit.context import CancellationToken
from servekit.errors import Cancelled, FailedPrecondition, OutOfMemory
from servekit.models import catalogue
from services.speech.diarization import DiarizationInput
from services.speech.settings import SpeechSettings


class OutOfGpu(Exception):
    """torch.cuda.OutOfMemoryError."""


class Pipeline:
    """Two speakers who overlap; calls its hook as the real one does."""

    def __init__(self):
        self.calls, self.device, self.failure = [], None, None

    @classmethod
    def from_pretrained(cls, checkpoint):
        return cls()

    def to(self, device):
        self.device = device

    def __call__(self, file, hook=None, **bounds):
        assert file["waveform"].shape[0] == 1
        self.calls.append((file["sample_rate"], bounds))
        hook("segmentation", None, file=file, total=1, completed=0)
        if self.failure:
            raise self.failure
        told = Annotation()
        told[Segment(0.5, 3)], told[Segment(2.5, 20)] = "SPEAKER_01", "SPEAKER_00"
        return SimpleNamespace(speaker_diarization=told, speaker_embeddings=np.array([[3.0, 4.0], [np.nan, 0.0]]))


@pytest.fixture
def adapter(monkeypatch):
    torch, audio = ModuleType("torch"), ModuleType("pyannote.audio")
    torch.from_numpy, torch.device = (lambda array: array), (lambda name: name)
    torch.cuda = SimpleNamespace(OutOfMemoryError=OutOfGpu)
    audio.Pipeline = Pipeline
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "pyannote.audio", audio)
    monkeypatch.delitem(sys.modules, "services.speech.diarization.models.pyannote", raising=False)
    yield importlib.import_module("services.speech.diarization.models.pyannote")
    sys.modules.pop("services.speech.diarization.models.pyannote", None)


def recording(speakers=0):
    return DiarizationInput(np.zeros(16_000 * 10, np.float32), speakers, 4)


def test_turns_overlap_and_stay_within_the_recording(adapter):
    model = adapter.Pyannote(Pipeline(), 0.5)
    [speakers] = model.run([recording()], CancellationToken())
    assert [(turn.start, turn.end, turn.speaker) for turn in speakers.turns] == [(0.5, 3, 1), (2.5, 10, 0)]
    assert speakers.embeddings.tolist() == [pytest.approx([0.6, 0.8]), [0.0, 0.0]]
    model.run([recording(speakers=3)], CancellationToken())
    assert model._pipeline.calls == [(16_000, {"max_speakers": 4}), (16_000, {"num_speakers": 3})]


def test_it_stops_at_its_hook_and_tells_of_full_memory(adapter):
    model = adapter.Pyannote(Pipeline(), 0.5)
    cancellation = CancellationToken()
    cancellation.cancel()
    with pytest.raises(Cancelled):
        model.run([recording()], cancellation)
    model._pipeline.failure = OutOfGpu()
    with pytest.raises(OutOfMemory):
        model.run([recording()], CancellationToken())


def test_its_folder_has_to_hold_it(adapter, tmp_path):
    spec, settings = catalogue.model("pyannote-community-1"), SpeechSettings(home=tmp_path)
    with pytest.raises(FailedPrecondition, match="hf download pyannote/speaker-diarization-community-1"):
        adapter.load(spec, settings)
    folder = spec.folder(settings.models_dir)
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("pipeline: {}")
    model = adapter.load(spec, settings)
    assert (model._pipeline.device, model.verification_threshold) == ("cuda", 0.5)
