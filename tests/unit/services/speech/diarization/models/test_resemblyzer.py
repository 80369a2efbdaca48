"""Resemblyzer with its real weights, against the same network written out in numpy, and on real voices."""

import os
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

from servekit.context import CancellationToken
from servekit.errors import Cancelled, TooLarge
from servekit.media.audio import AudioLimits, decode_audio
from servekit.models import catalogue
from servekit.ops.settings import ProcessSettings
from services.speech.checkpoint import read_checkpoint
from services.speech.diarization.models.resemblyzer import load
from services.speech.export import network
from services.speech.settings import SpeechSettings

SPEC = catalogue.model("resemblyzer")
FOLDER = SPEC.folder(ProcessSettings().models_dir)
CANARY = Path(__file__).parents[6] / "evaluation" / "canary"


@pytest.fixture(scope="module")
def encoder():
    assert (FOLDER / "pretrained.pt").exists(), "its weights are missing: run `polyphony models pull`"
    model = load(SPEC, SpeechSettings(threads=1))
    yield model
    model.close()


def sigmoid(values):
    return 1 / (1 + np.exp(-values))


def written_out(weights, mel):
    """Wan et al. 2018, a step at a time, in float64: `[batch, frames, channels]` to `[batch, dimensions]`."""
    sequence = mel.astype(np.float64)
    for layer in range(3):
        enter, keep = (weights[f"lstm.weight_{part}_l{layer}"].astype(np.float64) for part in ("ih", "hh"))
        bias = weights[f"lstm.bias_ih_l{layer}"] + weights[f"lstm.bias_hh_l{layer}"]
        state = cell = np.zeros((len(mel), keep.shape[1]))
        states = []
        for step in range(sequence.shape[1]):
            into, forget, new, out = np.split(sequence[:, step] @ enter.T + state @ keep.T + bias, 4, axis=1)
            cell = sigmoid(forget) * cell + sigmoid(into) * np.tanh(new)
            state = sigmoid(out) * np.tanh(cell)
            states.append(state)
        sequence = np.stack(states, axis=1)
    raw = np.maximum(sequence[:, -1] @ weights["linear.weight"].T + weights["linear.bias"], 0)
    return raw / np.linalg.norm(raw, axis=1, keepdims=True)


def partials(name, encoder):
    """All whole partials of a recording of the canary's."""
    samples = decode_audio((CANARY / name).read_bytes(), AudioLimits(), "audio")
    size = encoder.partial_samples
    return samples[: len(samples) // size * size].reshape(-1, size)


def voice(name, encoder):
    [embedded] = encoder.run([encoder.prepare(partials(name, encoder))], CancellationToken())
    mean = embedded.mean(axis=0)
    return mean / np.linalg.norm(mean)


def test_its_network_is_the_one_written_out(encoder):
    mel = encoder.prepare(partials("austen-1.opus", encoder))
    assert mel.dtype == np.float32
    assert mel.shape[1:] == (160, 40)
    [embedded] = encoder.run([mel], CancellationToken())
    assert embedded.dtype == np.float32
    expected = written_out(read_checkpoint(FOLDER / "pretrained.pt", "model_state"), mel)
    assert np.abs(embedded - expected).max() < 1e-5


def test_a_tone_falls_into_its_band(encoder):
    """Slaney's bands: 1 kHz is mel 15 of 45.2, so that 40 bands have their centres 1.10 mel apart."""
    tone = np.sin(2 * np.pi * 1000 * np.arange(encoder.partial_samples) / 16_000, dtype=np.float32)
    tone[16_000:] = 0  # or it would be taken for noise
    mel = encoder.prepare(tone[None])[0]
    assert mel[80].argmax() == 13
    assert mel[80, 13] > 0.9 * mel[80].sum() / 2


def test_quiet_speech_is_raised_and_loud_speech_left(encoder):
    [speech] = partials("austen-2.opus", encoder)[:1]
    plain, quiet, loud = (encoder.prepare(samples[None])[0] for samples in (speech, speech * 0.01, speech * 3))
    level = np.sqrt(np.mean(np.square(speech)))
    assert level > 10 ** (-30 / 20) > level * 0.01
    assert np.allclose(quiet, plain * (10 ** (-30 / 20) / level) ** 2, rtol=1e-3, atol=1e-6)
    assert np.allclose(loud, plain * 9, rtol=1e-3, atol=1e-6)


def test_the_same_voice_is_closer_than_another(encoder):
    reader = [voice(f"austen-{number}.opus", encoder) for number in (1, 2, 3, 4)]
    hibari = [voice(f"{name}.opus", encoder) for name in ("garden", "pump")]
    same = [first @ second for group in (reader, hibari) for first in group for second in group if first is not second]
    other = [first @ second for first in reader for second in hibari]
    assert min(same) > 0.75
    assert max(other) < 0.65


def test_voices_stay_apart_in_steady_noise(encoder):
    def noisy(name):
        speech = partials(name, encoder)
        hiss = np.random.default_rng(0).normal(0, np.std(speech) * 0.3, speech.shape).astype(np.float32)
        return encoder.run([encoder.prepare(speech + hiss)], CancellationToken())[0].mean(axis=0)

    def alike(first, second):
        return first @ second / np.linalg.norm(first) / np.linalg.norm(second)

    reader, again, hibari = noisy("austen-1.opus"), noisy("austen-3.opus"), noisy("pump.opus")
    assert alike(reader, again) > 0.8
    assert alike(reader, hibari) < 0.7
    silence = encoder.prepare(np.full((1, encoder.partial_samples), 0.1, np.float32))
    assert np.isfinite(encoder.run([silence], CancellationToken())[0]).all()


def test_neighbours_in_a_run_do_not_change_a_voice(encoder):
    first, second = (encoder.prepare(partials(name, encoder)) for name in ("austen-1.opus", "pump.opus"))
    together = encoder.run([first, second], CancellationToken())
    assert [len(embeddings) for embeddings in together] == [len(first), len(second)]
    [alone] = encoder.run([second], CancellationToken())
    assert np.abs(together[1] - alone).max() < 1e-5


def test_silence_has_a_voice_of_numbers(encoder):
    [embedded] = encoder.run([encoder.prepare(np.zeros((1, encoder.partial_samples), np.float32))], CancellationToken())
    assert np.isfinite(embedded).all()


def test_it_stops_between_runs_when_nobody_waits(encoder):
    cancellation = CancellationToken()
    cancellation.cancel()
    with pytest.raises(Cancelled):
        encoder.run([encoder.prepare(np.zeros((1, encoder.partial_samples), np.float32))], cancellation)


def test_its_network_takes_many_rows_in_parts_and_refuses_long_ones(encoder):
    mel = np.random.default_rng(0).random((70, 160, 40), np.float32)
    embedded = encoder.backend.infer({"mel": mel})["embedding"]
    assert embedded.shape == (70, encoder.dimensions)
    assert np.abs(embedded[-1] - encoder.backend.infer({"mel": mel[-1:]})["embedding"][0]).max() < 1e-5
    with pytest.raises(TooLarge) as raised:
        encoder.backend.infer({"mel": np.zeros((1, 161, 40), np.float32)})
    assert raised.value.field == "inputs.mel"


def test_the_network_is_made_once_and_anew_for_another_exporter(tmp_path, monkeypatch):
    shutil.copy(FOLDER / "pretrained.pt", tmp_path)
    first = network(tmp_path)
    assert isinstance(first, Path)
    onnx.checker.check_model(onnx.load(first), full_check=True)
    made = first.stat().st_mtime_ns
    assert network(tmp_path) == first
    assert first.stat().st_mtime_ns == made
    monkeypatch.setattr("services.speech.export.EXPORTER", 99)
    second = network(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"pretrained.pt", second.name}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere; tests/images has it read-only")
def test_the_network_of_a_folder_that_may_only_be_read_is_kept_in_memory(tmp_path):
    (tmp_path / "pretrained.pt").symlink_to(FOLDER / "pretrained.pt")
    tmp_path.chmod(0o555)
    made = network(tmp_path)
    assert isinstance(made, bytes)
    assert onnx.load_model_from_string(made).graph.output[0].name == "embedding"
