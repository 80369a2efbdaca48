"""Whisper's words are those of the reference library, on the same weights; fitted windows lose none of them."""

import os
import tomllib
from pathlib import Path

import numpy as np
import pytest
from faster_whisper import WhisperModel
from hibari import Hibari as Engine
from scipy.signal import resample_poly

from evaluation.canary_set import FOLDER
from evaluation.metrics import word_error_rate
from servekit.media.audio import AudioLimits, decode_audio
from servekit.ops.settings import default_home
from servekit.rpc.context import CancellationToken
from services.speech.synthesis import Speaker
from services.speech.synthesis.models.hibari import Hibari
from services.speech.transcription import LISTENING_RATE, Instructions, Window, Word
from services.speech.transcription.models.whisper.decoding import TEMPERATURES
from services.speech.transcription.models.whisper.timing import joined
from services.speech.transcription.models.whisper.whisper import Whisper

WEIGHTS = Path(os.environ.get("POLYPHONY_HOME", default_home())) / "models" / "whisper-base"


@pytest.fixture(scope="module")
def clips():
    """Four phrases that a person reads, as one of 19 s, and two of a synthetic voice, each with its text."""
    rows = tomllib.loads((FOLDER / "canary.toml").read_text())["transcribe"]
    sounds = [decode_audio((FOLDER / row["file"]).read_bytes(), AudioLimits(), "audio") for row in rows]
    texts = [row["text"] for row in rows]
    return [(" ".join(texts[:4]), np.concatenate(sounds[:4])), *zip(texts[4:6], sounds[4:6], strict=True)]


@pytest.fixture(scope="module")
def model():
    return WhisperModel(str(WEIGHTS), "cpu", compute_type="int8", cpu_threads=2, local_files_only=True)


def heard(model, samples, text="", **more):
    whisper, outcome = Whisper(model, 5), Window(samples, Instructions(**more), text=text)
    while isinstance(outcome, Window):
        (outcome,) = whisper.run([whisper.prepare(outcome)], CancellationToken())
    return outcome


def test_full_windows_are_heard_as_the_reference_hears_them(clips, model):
    for _, samples in clips:
        segments, info = model.transcribe(
            samples, beam_size=5, temperature=list(TEMPERATURES), condition_on_previous_text=False, word_timestamps=True
        )
        expected = list(segments)
        passage = heard(model, samples, full_window=True, word_times=True)
        assert passage.language == info.language
        assert passage.language_probability == pytest.approx(info.language_probability, abs=1e-3)
        assert [one.text for one in passage.segments] == [one.text.strip() for one in expected]
        words = [word for one in passage.segments for word in one.words]
        reference = [word for one in expected for word in one.words]
        whole = joined([Word(word.start, word.end, word.word, word.probability) for word in reference])
        assert [word.text for word in words] == [word.text for word in whole]
        for mine, theirs in zip(words, whole, strict=True):
            assert (mine.start, mine.end) == pytest.approx((theirs.start, theirs.end), abs=0.02)
            assert mine.probability == pytest.approx(theirs.probability, abs=1e-3)


def spoken(text):
    voice = Hibari({"heart": Engine(threads=1)})
    samples = np.concatenate([*voice.speak(text, Speaker("heart", "en"), 1.0, CancellationToken())])
    return resample_poly(samples, LISTENING_RATE, voice.sample_rate).astype(np.float32)


@pytest.mark.parametrize("full_window", [False, True])
def test_words_with_spaces_between_them_are_the_text(clips, model, full_window):
    for samples, whole in ((clips[0][1], "cold-hearted"), (spoken("It is 9.45 now."), "9.45")):
        passage = heard(model, samples, language="en", word_times=True, full_window=full_window)
        words = [word.text for one in passage.segments for word in one.words]
        assert whole in words
        assert " ".join(words) == " ".join(one.text for one in passage.segments)


def test_fitted_windows_lose_no_word(clips, model):
    passages = [heard(model, samples, language="en") for _, samples in clips]
    texts = [" ".join(segment.text for segment in passage.segments) for passage in passages]
    assert word_error_rate([text for text, _ in clips], texts) <= 0.02


def test_a_word_at_a_sudden_end_is_heard(model):
    (segment,) = heard(model, spoken("The mayor was not amused."), language="en").segments
    assert segment.text == "The mayor was not amused."


def test_known_words_are_placed_where_they_are_heard(clips, model):
    text, samples = clips[1]
    free = [word for one in heard(model, samples, language="en", word_times=True).segments for word in one.words]
    (segment,) = heard(model, samples, text, language="en").segments
    assert [word.text for word in segment.words] == text.split()
    assert [word.start for word in segment.words] == pytest.approx([word.start for word in free], abs=0.1)


def test_no_words_are_made_up_where_nobody_speaks(model):
    seconds = np.arange(4 * LISTENING_RATE) / LISTENING_RATE
    noise = np.random.default_rng(0).normal(scale=0.05, size=len(seconds))
    chord = sum(0.1 * np.sin(2 * np.pi * pitch * seconds) for pitch in (261.6, 329.6, 392.0))
    for samples in (np.zeros(len(seconds)), noise, chord):
        assert heard(model, samples.astype(np.float32)).segments == ()
