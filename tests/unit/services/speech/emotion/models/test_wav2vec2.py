import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from servekit.context import CancellationToken
from servekit.errors import FailedPrecondition
from servekit.models.catalogue import model
from services.speech.emotion.models.wav2vec2 import MAX_SAMPLES, MIN_SAMPLES, load
from services.speech.settings import SpeechSettings

SPEC = model("wav2vec2-large-superb-er")


@pytest.fixture
def folder(tmp_path):
    """A network with the inputs and outputs of the exported one: a head of random weights over the frames' levels."""
    weights = np.random.default_rng(0).normal(size=(1, 4)).astype(np.float32)
    nodes = [
        helper.make_node("Abs", ["input_values"], ["level"]),
        helper.make_node("ReduceMean", ["level", "axes"], ["mean"], keepdims=1),
        helper.make_node("MatMul", ["mean", "head"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "stand-in",
        [helper.make_tensor_value_info("input_values", TensorProto.FLOAT, ["batch", "samples"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 4])],
        [numpy_helper.from_array(weights, "head"), numpy_helper.from_array(np.array([1], np.int64), "axes")],
    )
    folder = tmp_path / "models" / SPEC.id
    folder.mkdir(parents=True)
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), folder / "model.onnx"
    )
    (folder / "config.json").write_text(json.dumps({"id2label": {"0": "neu", "1": "hap", "2": "ang", "3": "sad"}}))
    return folder


def test_the_probabilities_of_named_emotions(folder, tmp_path):
    recognizer = load(SPEC, SpeechSettings(home=tmp_path))
    recognizer.warm()
    sounds = [np.random.default_rng(seed).laplace(size=16_000).astype(np.float32) * (1 - seed / 2) for seed in (0, 1)]
    found = recognizer.run([recognizer.prepare(sound) for sound in sounds], CancellationToken())
    assert [list(one) for one in found] == [["neutral", "happy", "angry", "sad"]] * 2
    assert all(sum(one.values()) == pytest.approx(1) for one in found)
    recognizer.close()


def test_how_loud_it_was_recorded_does_not_matter(folder, tmp_path):
    recognizer = load(SPEC, SpeechSettings(home=tmp_path))
    sound = np.random.default_rng(0).laplace(size=16_000).astype(np.float32)
    loud, quiet = recognizer.run([recognizer.prepare(level * sound + 0.1) for level in (1.0, 0.1)], CancellationToken())
    assert loud == pytest.approx(quiet, abs=1e-3)


@pytest.mark.parametrize(("samples", "seen"), [(0, MIN_SAMPLES), (1, MIN_SAMPLES), (MAX_SAMPLES + 9, MAX_SAMPLES)])
def test_what_the_network_sees_is_bounded(folder, tmp_path, samples, seen):
    recognizer = load(SPEC, SpeechSettings(home=tmp_path))
    prepared = recognizer.prepare(np.zeros(samples, np.float32))
    assert prepared.shape == (seen,)
    assert np.isfinite(prepared).all()


def test_without_its_network_it_says_how_to_make_it(tmp_path):
    with pytest.raises(FailedPrecondition, match="optimum-cli export onnx"):
        load(SPEC, SpeechSettings(home=tmp_path))


def test_a_configuration_without_classes_is_refused(folder, tmp_path):
    (folder / "config.json").write_text("{}")
    with pytest.raises(FailedPrecondition, match="id2label"):
        load(SPEC, SpeechSettings(home=tmp_path))
