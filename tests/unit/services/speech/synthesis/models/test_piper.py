"""Piper's adapter on a library of the same interface: the real one is GPL and no part of the tests."""

import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from servekit.context import CancellationToken
from servekit.errors import Cancelled, FailedPrecondition
from servekit.models.catalogue import model
from services.speech.settings import SpeechSettings
from services.speech.synthesis import Speaker
from services.speech.synthesis.models.piper import load

JOE = Speaker("joe", "en")


@dataclass
class SynthesisConfig:
    length_scale: float | None = None


class PiperVoice:
    """As piper-tts 1.8 has it: a chunk a sentence, its length by the scale."""

    config = SimpleNamespace(sample_rate=22_050, length_scale=1.25)

    @classmethod
    def load(cls, path):
        assert Path(path).name == "en_US-joe-medium.onnx"
        return cls()

    def synthesize(self, text, config):
        for sentence in text.split("."):
            yield SimpleNamespace(audio_float_array=np.full(int(1000 * len(sentence) * config.length_scale), 0.1))


@pytest.fixture
def joe(monkeypatch, tmp_path):
    library = SimpleNamespace(PiperVoice=PiperVoice, SynthesisConfig=SynthesisConfig)
    monkeypatch.setitem(sys.modules, "piper", library)
    return load(model("piper-joe"), SpeechSettings(home=tmp_path))


def test_speaks_at_its_own_pace_and_faster(joe):
    joe.warm()
    assert [(row.name, row.languages) for row in joe.voices] == [("joe", ("en",))]
    assert joe.sample_rate == 22_050
    own, fast = (sum(map(len, joe.speak("Good morning", JOE, speed, CancellationToken()))) for speed in (1.0, 2.0))
    assert own == 12_000 * 1.25
    assert fast == own / 2
    assert next(joe.speak("Hi", JOE, 1.0, CancellationToken())).dtype == np.float32


def test_stops_when_nobody_listens(joe):
    cancellation = CancellationToken()
    cancellation.cancel()
    with pytest.raises(Cancelled):
        next(joe.speak("Hi", JOE, 1.0, cancellation))


def test_without_the_library_the_extra_and_its_licence_are_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "piper", None)
    with pytest.raises(FailedPrecondition, match=r"GPL.*extra `piper`"):
        load(model("piper-joe"), SpeechSettings(home=tmp_path))
