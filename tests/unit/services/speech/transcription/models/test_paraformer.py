"""Paraformer's adapter on a network of the exported one's inputs and outputs, with random weights."""

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from servekit.context import CancellationToken
from servekit.errors import FailedPrecondition, InvalidArgument
from servekit.models.catalogue import model
from services.speech.audio import SAMPLE_RATE
from services.speech.settings import SpeechSettings
from services.speech.transcription import TranscriptionOptions, Window
from services.speech.transcription.models.fbank import FilterBank
from services.speech.transcription.models.paraformer import (
    joined,
    load,
    read_normalisation,
    sentence,
    stacked,
    token_times,
)

SPEC = model("paraformer-zh")
TOKENS = ["<blank>", "<s>", "</s>", *"今天气很好我们去上海", "hel@@", "lo", "<unk>"]
WIDTH = 560
TIMES = TranscriptionOptions(word_times=True)
BANDS, KALDI = [0, 11, 12, 13, 40, 79], [10.9599, 10.9464, 17.9307, 21.1864, 8.6462, 7.4417]


@pytest.fixture
def folder(tmp_path):
    """A token a frame, by a random matrix; a peak in the middle of each."""
    weights = np.random.default_rng(0).normal(size=(WIDTH, len(TOKENS))).astype(np.float32)
    weights[:, :3] = 0
    nodes = [
        helper.make_node("MatMul", ["speech", "weights"], ["logits"]),
        helper.make_node("Identity", ["speech_lengths"], ["token_num"]),
        helper.make_node("ReduceMean", ["speech", "last"], ["level"], keepdims=1),
        helper.make_node("Mul", ["level", "nought"], ["flat"]),
        helper.make_node("Add", ["flat", "beat"], ["beats"]),
        helper.make_node("Reshape", ["beats", "row"], ["us_alphas"]),
        helper.make_node("Identity", ["us_alphas"], ["us_cif_peak"]),
    ]
    constants = {
        "weights": weights,
        "last": np.array([2], np.int64),
        "nought": np.zeros(1, np.float32),
        "beat": np.array([[[0, 1, 0]]], np.float32),
        "row": np.array([0, -1], np.int64),
    }
    outputs = {
        "logits": [None, None, len(TOKENS)],
        "token_num": [None],
        "us_alphas": [None, None],
        "us_cif_peak": [None, None],
    }
    graph = helper.make_graph(
        nodes,
        "stand-in",
        [
            helper.make_tensor_value_info("speech", TensorProto.FLOAT, ["batch", "frames", WIDTH]),
            helper.make_tensor_value_info("speech_lengths", TensorProto.INT32, ["batch"]),
        ],
        [
            helper.make_tensor_value_info(name, TensorProto.INT32 if name == "token_num" else TensorProto.FLOAT, shape)
            for name, shape in outputs.items()
        ],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    folder = tmp_path / "models" / SPEC.id
    folder.mkdir(parents=True)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(made, folder / "model.onnx")
    (folder / "tokens.json").write_text(json.dumps(TOKENS))
    rows = {"AddShift": -8.0, "Rescale": 0.25}
    body = "".join(
        f"<{name}> {WIDTH} {WIDTH}\n<LearnRateCoef> 0 [ {' '.join([str(value)] * WIDTH)} ]\n"
        for name, value in rows.items()
    )
    (folder / "am.mvn").write_text(f"<Nnet>\n<Splice> {WIDTH} {WIDTH}\n[ 0 ]\n{body}</Nnet>\n")
    return folder


@pytest.fixture
def paraformer(folder, tmp_path):
    return load(SPEC, SpeechSettings(home=tmp_path))


def noise(seconds, seed=0):
    return np.random.default_rng(seed).uniform(-0.3, 0.3, round(seconds * SAMPLE_RATE)).astype(np.float32)


def heard(paraformer, *windows):
    return paraformer.run([paraformer.prepare(window) for window in windows], CancellationToken())


def test_windows_of_different_lengths_are_transcribed_as_if_alone(paraformer):
    paraformer.warm()
    windows = [Window(noise(seconds, seed), TIMES) for seed, seconds in enumerate((2.0, 3.3, 0.7))]
    together = heard(paraformer, *windows)
    assert together == [heard(paraformer, window)[0] for window in windows]
    for window, result in zip(windows, together, strict=True):
        (segment,) = result.segments
        assert result.language == "zh"
        assert segment.text == sentence([word.text for word in segment.words])
        assert 0 < result.language_probability <= 1
        assert all(0 <= word.start < word.end <= window.seconds for word in segment.words)
        frames = len(paraformer.prepare(window).features)
        assert sum(2 if word.text == "hello" else 1 for word in segment.words) <= frames - 1  # the last is the end's
    paraformer.close()


def test_silence_and_a_moment_of_sound_are_nothing_said(paraformer):
    silence = Window(np.zeros(SAMPLE_RATE, np.float32), TranscriptionOptions(language="zh"))
    passages = heard(
        paraformer, silence, Window(noise(0.01), TranscriptionOptions()), Window(noise(2.0), TranscriptionOptions())
    )
    assert [(one.language, len(one.segments)) for one in passages] == [("zh", 0), ("", 0), ("zh", 1)]


def test_words_that_were_said_before_stay(paraformer):
    (free,) = heard(paraformer, Window(noise(2.0), TIMES))
    (held,) = heard(paraformer, Window(noise(2.0), TIMES, prefix="上 hello"))
    words = [word.text for word in free.segments[0].words]
    assert held.segments[0].text == sentence(["上", "hello", *words[2:]])


def test_what_it_cannot_do_is_refused(paraformer):
    refused = {
        "language": TranscriptionOptions(language="fr"),
        "task": TranscriptionOptions(task="translate"),
        "prompt": TranscriptionOptions(prompt="上海"),
        "hotwords": TranscriptionOptions(hotwords=("上海",)),
        "temperature": TranscriptionOptions(temperature=0.5),
    }
    for field, options in refused.items():
        with pytest.raises(InvalidArgument) as error:
            paraformer.check(options)
        assert error.value.field == field
    with pytest.raises(InvalidArgument) as error:
        paraformer.prepare(Window(noise(1.0), TranscriptionOptions(), text="今天"))
    assert error.value.field == "text"


def test_a_model_that_was_not_made_says_how(tmp_path):
    with pytest.raises(FailedPrecondition, match="funasr-export"):
        load(SPEC, SpeechSettings(home=tmp_path))
    (tmp_path / "am.mvn").write_text("<Nnet>\n")
    with pytest.raises(FailedPrecondition, match="AddShift"):
        read_normalisation(tmp_path / "am.mvn")


def test_energies_are_those_of_kaldi():
    # From kaldi-native-fbank 1.23: 80 bands, Hamming, no dither, no floor, edges snipped, of this tone and of silence.
    tone = 0.1 * np.sin(2 * np.pi * 440 * np.arange(1600) / SAMPLE_RATE, dtype=np.float64)
    energies = FilterBank(80)(tone.astype(np.float32))
    assert energies.shape == (8, 80)
    np.testing.assert_allclose(energies[3, BANDS], KALDI, atol=2e-3)
    np.testing.assert_allclose(FilterBank(80)(np.zeros(400, np.float32)), -15.942385, atol=1e-5)
    assert FilterBank(80)(np.zeros(399, np.float32)).shape == (0, 80)


def test_frames_are_stacked_with_their_neighbours():
    frames = np.arange(13, dtype=np.float32)[:, None]
    expected = [[0, 0, 0, 0, 1, 2, 3], [3, 4, 5, 6, 7, 8, 9], [9, 10, 11, 12, 12, 12, 12]]
    assert stacked(frames).tolist() == expected


def test_peaks_tell_times():
    peaks = np.zeros(90, np.float32)
    peaks[[5, 11, 60]] = 1.0
    assert token_times(peaks, 2, 30) == [
        pytest.approx((0.07, 0.19)),
        pytest.approx((0.19, 0.79)),
    ]  # the rest is silence
    assert token_times(peaks, 3, 30) is None
    assert token_times(peaks, 0, 30) is None


def test_pieces_are_joined_to_words():
    tokens = ["今", "hel@@", "lo", "world", "好", "</s>"]
    words = joined(tokens, np.log([0.9, 0.8, 0.5, 0.7, 0.6, 0.9]), [(n, n + 1.0) for n in range(6)])
    assert [(word.text, word.start, word.end) for word in words] == [
        ("今", 0, 1),
        ("hello", 1, 3),
        ("world", 3, 4),
        ("好", 4, 5),
    ]
    assert words[1].probability == pytest.approx(0.5)
    assert sentence([word.text for word in words]) == "今hello world好"
