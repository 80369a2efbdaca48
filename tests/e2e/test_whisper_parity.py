"""Whisper against the reference library on the same weights in the same run, and fitted windows against full ones.

What Whisper writes differs between processors: these tests compare runs on one machine and bound error rates over a
set. Exact texts are tested on a scripted engine (tests/unit/services/speech/models).
"""

import os
import tomllib
from difflib import SequenceMatcher
from pathlib import Path
from statistics import median

import numpy as np
import pytest
from faster_whisper import WhisperModel
from hibari import Hibari as Engine
from scipy.signal import resample_poly

from evaluation.canary_set import FOLDER
from evaluation.metrics import word_error_rate
from servekit.context import CancellationToken
from servekit.media.audio import AudioLimits, decode_audio
from servekit.ops.settings import default_home
from services.speech.audio import SAMPLE_RATE
from services.speech.synthesis import Speaker
from services.speech.synthesis.models.hibari import Hibari
from services.speech.transcription import RecognizedWord, TranscriptionOptions, Window
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
    whisper, outcome = Whisper(model, 5), Window(samples, TranscriptionOptions(**more), text=text)
    while isinstance(outcome, Window):
        (outcome,) = whisper.run([whisper.prepare(outcome)], CancellationToken())
    return outcome


def test_full_windows_are_transcribed_like_the_reference(clips, model):
    for _, samples in clips:
        segments, info = model.transcribe(
            samples, beam_size=5, temperature=list(TEMPERATURES), condition_on_previous_text=False, word_timestamps=True
        )
        expected = list(segments)
        result = heard(model, samples, full_window=True, word_times=True)
        assert result.language == info.language
        assert result.language_probability == pytest.approx(info.language_probability, abs=1e-3)
        assert [one.text for one in result.segments] == [one.text.strip() for one in expected]
        words = [word for one in result.segments for word in one.words]
        reference = [word for one in expected for word in one.words]
        whole = joined([RecognizedWord(word.start, word.end, word.word, word.probability) for word in reference])
        assert [word.text for word in words] == [word.text for word in whole]
        for mine, theirs in zip(words, whole, strict=True):
            assert (mine.start, mine.end) == pytest.approx((theirs.start, theirs.end), abs=0.02)
            assert mine.probability == pytest.approx(theirs.probability, abs=1e-3)


def spoken(text):
    voice = Hibari({"heart": Engine(threads=1)})
    samples = np.concatenate([*voice.speak(text, Speaker("heart", "en"), 1.0, CancellationToken())])
    return resample_poly(samples, SAMPLE_RATE, voice.sample_rate).astype(np.float32)


@pytest.mark.parametrize("full_window", [False, True])
def test_joined_words_are_the_words_of_the_text(clips, model, full_window):
    for samples in (*(samples for _, samples in clips), spoken("It is 9.45 now.")):
        result = heard(model, samples, language="en", word_times=True, full_window=full_window)
        words = [word.text for one in result.segments for word in one.words]
        assert words == " ".join(one.text for one in result.segments).split()


def error_rate(texts, passages):
    """The word error rate of a set, whatever its punctuation."""
    return word_error_rate(texts, [" ".join(segment.text for segment in result.segments) for result in passages])


def test_fitted_windows_are_about_as_accurate_as_full_windows(clips, model):
    texts, samples = zip(*clips, strict=True)
    fitted, full = (
        error_rate(texts, [heard(model, one, language="en", full_window=full_window) for one in samples])
        for full_window in (False, True)
    )
    assert fitted <= min(full + 0.05, 0.15)


SENTENCES = (
    "The mayor was not amused.",
    "She wrote the answer on the board.",
    "We will meet again on Monday.",
    "The old bridge is closed.",
)


def test_the_last_word_of_a_recording_without_trailing_silence_is_recognized(model):
    passages = [heard(model, spoken(sentence), language="en") for sentence in SENTENCES]
    assert error_rate(SENTENCES, passages) <= 0.2
    ends = [result.segments[-1].text.split()[-1] if result.segments else "" for result in passages]
    found = [
        end
        for end, sentence in zip(ends, SENTENCES, strict=True)
        if word_error_rate([sentence.split()[-1]], [end]) == 0
    ]
    assert len(found) >= len(SENTENCES) - 1


def test_aligned_words_start_where_the_same_words_are_recognized(clips, model):
    text, samples = clips[1]
    free = [word for one in heard(model, samples, language="en", word_times=True).segments for word in one.words]
    (segment,) = heard(model, samples, text, language="en").segments
    aligned = [word.text for word in segment.words]
    assert aligned == text.split()
    same = SequenceMatcher(None, [word.text for word in free], aligned, autojunk=False).get_matching_blocks()
    pairs = [(free[block.a + n], segment.words[block.b + n]) for block in same for n in range(block.size)]
    assert len(pairs) >= 0.8 * len(aligned)
    assert median(abs(one.start - other.start) for one, other in pairs) <= 0.1
