import json
from itertools import pairwise

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from servekit.context import CancellationToken
from servekit.errors import FailedPrecondition, InvalidArgument
from servekit.models.catalogue import model
from services.speech.alignment import AlignmentInput
from services.speech.alignment.models.wav2vec2 import NOT_FOUND, Wav2Vec2, load
from services.speech.settings import SpeechSettings

SPEC = model("wav2vec2-base-960h")
LETTERS = {"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3, "|": 4, "E": 5, "T": 6, "A": 7, "O": 8, "'": 9}
HOP = 320


@pytest.fixture
def folder(tmp_path):
    """A network with the inputs and outputs of the exported one: one convolution of random weights, a row a 20 ms."""
    weights = np.random.default_rng(0).normal(size=(len(LETTERS), 1, HOP)).astype(np.float32)
    nodes = [
        helper.make_node("Unsqueeze", ["input_values", "axis"], ["channel"]),
        helper.make_node("Conv", ["channel", "weights"], ["columns"], strides=[HOP], kernel_shape=[HOP]),
        helper.make_node("Transpose", ["columns"], ["logits"], perm=[0, 2, 1]),
    ]
    graph = helper.make_graph(
        nodes,
        "stand-in",
        [helper.make_tensor_value_info("input_values", TensorProto.FLOAT, ["batch", "samples"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", "frames", len(LETTERS)])],
        [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(np.array([1], np.int64), "axis")],
    )
    folder = tmp_path / "models" / SPEC.id
    folder.mkdir(parents=True)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(made, folder / "model.onnx")
    (folder / "vocab.json").write_text(json.dumps(LETTERS))
    return folder


@pytest.mark.usefixtures("folder")
def test_words_are_placed_in_their_order(tmp_path):
    aligner = load(SPEC, SpeechSettings(home=tmp_path))
    aligner.warm()
    noise = np.random.default_rng(1).normal(size=32_000).astype(np.float32)
    items = [AlignmentInput(noise, ("tea", "42", "oat", "a'o"), "en"), AlignmentInput(noise[:9000], ("tote",), "en")]
    timings, other = aligner.run([aligner.prepare(item) for item in items], CancellationToken())
    assert timings[1] == NOT_FOUND  # digits are no letters
    found = [timings[0], timings[2], timings[3]]
    assert all(0 < timing.confidence <= 1 and timing.start < timing.end for timing in found)
    assert [timing.start for timing in found] == sorted(timing.start for timing in found)
    assert all(before.end <= after.start for before, after in pairwise(found))
    assert found[-1].end <= 2.0
    assert len(other) == 1
    aligner.close()


@pytest.mark.usefixtures("folder")
def test_more_letters_than_frames_are_not_found(tmp_path):
    aligner = load(SPEC, SpeechSettings(home=tmp_path))
    item = aligner.prepare(AlignmentInput(np.zeros(10, np.float32), ("toteat" * 9,), "en"))
    assert aligner.run([item], CancellationToken()) == [[NOT_FOUND]]


class Certain:
    """A network that is sure of a letter a frame."""

    inputs = outputs = ()

    def __init__(self, said):
        self.said = said

    def infer(self, arrays):
        logits = np.full((1, len(self.said), len(LETTERS)), -10.0, np.float32)
        for frame, letter in enumerate(self.said):
            logits[0, frame, LETTERS.get(letter, 0)] = 10.0
        return {"logits": logits}

    def close(self):
        pass


def test_times_are_those_of_the_letters():
    aligner = Wav2Vec2(Certain("__TEA_|_OOT__"), LETTERS, ["en"])
    seconds = 13 * HOP / 16_000
    (timings,) = aligner.run(
        [aligner.prepare(AlignmentInput(np.zeros(13 * HOP, np.float32), ("tea", "oot"), "en"))], CancellationToken()
    )
    assert timings[0].start == pytest.approx(2 * seconds / 13)
    assert timings[0].end == pytest.approx(5 * seconds / 13)
    assert timings[1].start >= timings[0].end
    assert timings[0].confidence > 0.99 > 0.5 > timings[1].confidence  # "oo" needs a blank, "OO" has none
    (wrong,) = aligner.run(
        [aligner.prepare(AlignmentInput(np.zeros(13 * HOP, np.float32), ("aota",), "en"))], CancellationToken()
    )
    assert wrong[0].confidence < 0.01


def test_it_says_what_it_lacks(tmp_path):
    with pytest.raises(FailedPrecondition, match=r"optimum-cli export onnx .*wav2vec2-base-960h"):
        load(SPEC, SpeechSettings(home=tmp_path))
    with pytest.raises(FailedPrecondition, match="blank"):
        Wav2Vec2(Certain(""), {"a": 0}, ["en"])
    with pytest.raises(InvalidArgument, match="one of en"):
        Wav2Vec2(Certain(""), LETTERS, ["en"]).check("zh", ["tea"])
    with pytest.raises(InvalidArgument, match="letters"):
        Wav2Vec2(Certain(""), LETTERS, ["en"]).check("", ["茶", "水", "tea"])
    Wav2Vec2(Certain(""), LETTERS, ["en"]).check("", ["tea", "42"])
