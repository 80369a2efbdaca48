"""Kokoro's adapter on a network of random weights with the real one's signature, loaded by the production loader."""

import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from servekit.context import CancellationToken
from servekit.errors import Cancelled, FailedPrecondition
from servekit.models.catalogue import model
from services.speech.settings import SpeechSettings
from services.speech.synthesis import Speaker
from services.speech.synthesis.models.kokoro import MAX_PHONEMES, Kokoro, _portions, load
from services.speech.synthesis.models.phonemes import phonemizers

SAMPLES_PER_TOKEN = 600


def network():
    """Each token is 600 samples of its id's size, scaled by the style's first number and over the speed."""
    wave = np.random.default_rng(0).uniform(-1e-3, 1e-3, (1, SAMPLES_PER_TOKEN)).astype(np.float32)
    nodes = [
        helper.make_node("Cast", ["tokens"], ["loud"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["loud", "column"], ["rows"]),
        helper.make_node("MatMul", ["rows", "wave"], ["sound"]),
        helper.make_node("ReduceMax", ["style"], ["size"], keepdims=0),
        helper.make_node("Mul", ["sound", "size"], ["sized"]),
        helper.make_node("Div", ["sized", "speed"], ["paced"]),
        helper.make_node("Reshape", ["paced", "flat"], ["audio"]),
    ]
    constants = [
        helper.make_tensor("column", TensorProto.INT64, [2], [-1, 1]),
        helper.make_tensor("flat", TensorProto.INT64, [1], [-1]),
        helper.make_tensor("wave", TensorProto.FLOAT, wave.shape, wave.reshape(-1)),
    ]
    inputs = [
        helper.make_tensor_value_info("tokens", TensorProto.INT64, [1, "sequence_length"]),
        helper.make_tensor_value_info("style", TensorProto.FLOAT, [1, 256]),
        helper.make_tensor_value_info("speed", TensorProto.FLOAT, [1]),
    ]
    outputs = [helper.make_tensor_value_info("audio", TensorProto.FLOAT, ["audio_length"])]
    graph = helper.make_graph(nodes, "kokoro", inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


@pytest.fixture(scope="module")
def kokoro(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    spec = model("kokoro-82m")
    voices = {"af_heart": 0.5, "bf_emma": 1.0}
    spec = spec.model_copy(update={"options": {**spec.options, "voices": list(voices)}})
    folder = spec.folder(home / "models")
    folder.mkdir(parents=True)
    onnx.save(network(), folder / spec.options["network"])
    with (folder / spec.options["styles"]).open("wb") as file:
        np.savez(file, **{name: np.full((510, 1, 256), size, np.float32) for name, size in voices.items()})
    return load(spec, SpeechSettings(home=home, threads=1))


def speak(kokoro, text, voice="af_heart", speed=1.0, cancellation=None):
    return np.concatenate(list(kokoro.speak(text, Speaker(voice, "en"), speed, cancellation or CancellationToken())))


def test_voices_speak_the_language_that_their_names_tell(kokoro):
    kokoro.warm()
    assert [(row.name, row.languages) for row in kokoro.voices] == [("af_heart", ("en",)), ("bf_emma", ("en",))]
    assert kokoro.sample_rate == 24_000


def test_the_style_and_the_speed_reach_the_network(kokoro):
    plain = speak(kokoro, "Good morning.")
    assert plain.dtype == np.float32
    assert len(plain) == pytest.approx(SAMPLES_PER_TOKEN * len("ɡˌʊd mˈɔɹnɪŋ."), rel=0.3)
    assert np.abs(speak(kokoro, "Good morning.", "bf_emma")).max() > 1.5 * np.abs(plain).max()
    assert np.abs(speak(kokoro, "Good morning.", speed=2.0)).max() < 0.6 * np.abs(plain).max()


def test_stops_when_nobody_listens(kokoro):
    cancellation = CancellationToken()
    cancellation.cancel()
    with pytest.raises(Cancelled):
        speak(kokoro, "Good morning.", cancellation=cancellation)


def test_long_phonemes_are_cut_where_something_ends():
    phonemes = "abc, " * 300
    portions = list(_portions(phonemes))
    assert "".join("".join(portions).split()) == "".join(phonemes.split())
    assert all(len(portion) <= MAX_PHONEMES and portion.rstrip().endswith(",") for portion in portions)


def test_a_language_that_nothing_here_reads_is_refused():
    with pytest.raises(FailedPrecondition, match="h"):
        phonemizers("ah")


def test_a_library_that_is_missing_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "misaki.zh", None)
    with pytest.raises(FailedPrecondition, match="extra `kokoro`"):
        phonemizers("z")


def test_what_no_phonemizer_reads_is_left_out():
    styles = {"zf_x": np.ones((510, 1, 256), np.float32)}

    class Backend:
        def infer(self, arrays):
            self.seen = arrays["tokens"]
            return {"audio": np.full(4800, 0.1, np.float32)}

        def close(self):
            pass

    backend = Backend()
    reader = Kokoro(backend, styles, {"z": lambda text: "ni↓❓hao"})
    assert len(speak(reader, "你好", "zf_x"))
    assert backend.seen.shape == (1, len("ni↓hao") + 2)
    assert backend.seen[0, 0] == backend.seen[0, -1] == 0
