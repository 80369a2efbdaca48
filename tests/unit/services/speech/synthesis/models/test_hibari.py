"""Hibari on the voice that its package carries: what it speaks, and how long a step may be."""

import time
from contextlib import suppress

import numpy as np
import pytest
from hibari import Hibari as Engine
from hypothesis import given, settings
from hypothesis import strategies as st

from servekit.context import CancellationToken
from servekit.errors import Cancelled, InvalidArgument
from services.speech.synthesis import Speaker
from services.speech.synthesis.models.hibari import MAX_PHONEMES, Hibari, _portions

VOICE = Hibari({"heart": Engine(threads=1)})
HEART = Speaker("heart", "en")


def speak(text, speed=1.0):
    return np.concatenate([*VOICE.speak(text, HEART, speed, CancellationToken()), np.zeros(0, np.float32)])


def test_speaks_the_same_every_time():
    samples = speak("Doctor Smith paid nine dollars on the third of March.")
    assert samples.dtype == np.float32
    assert len(samples) > VOICE.sample_rate
    assert 0.05 < np.abs(samples).max() <= 1.0
    assert np.array_equal(samples, speak("Doctor Smith paid nine dollars on the third of March."))


def test_there_is_no_silence_around_the_voice():
    samples = speak("Good morning.")
    assert np.abs(samples[: VOICE.sample_rate // 10]).max() > 0.01
    assert np.abs(samples[-VOICE.sample_rate // 10 :]).max() > 0.01


def test_speed_shortens():
    slow, fast = (len(speak("Nobody saw it that year.", speed)) for speed in VOICE.speeds)
    assert slow > 2.5 * fast


ODD = ["H₂O and E=mc²", "café naïve Ångström", "½ cup", "x₁ [a](/hə/)"]


@pytest.mark.parametrize("text", ODD)
def test_odd_spellings_are_spoken(text):
    assert len(speak(text)) > VOICE.sample_rate / 4


@settings(max_examples=60, deadline=None)
@given(text=st.text("abXZ 0159.,!?'\"-–/:;$£%&@#()[]<>=+~^_|\\½²°µéßΩ₂ª™…“”\n\t\u0301", max_size=40))
def test_any_text_is_spoken_or_refused(text):
    with suppress(InvalidArgument):
        speak(text)


@pytest.mark.serial
@pytest.mark.parametrize("text", ["a-" * 100, "ab " * 66, "a." * 100, "!" * 199 + "a"])
def test_no_step_is_long(text):
    longest, last = 0.0, time.monotonic()
    for _ in VOICE.speak(text, HEART, 1.0, CancellationToken()):
        longest, last = max(longest, time.monotonic() - last), time.monotonic()
    assert longest < 2.0


def test_stops_when_nobody_listens():
    cancellation = CancellationToken()
    cancellation.cancel()
    with pytest.raises(Cancelled):
        next(VOICE.speak("One.", HEART, 1.0, cancellation))


@given(text=st.text("ab ,;:", max_size=2000))
def test_portions_keep_every_phoneme(text):
    portions = list(_portions(text))
    assert "".join("".join(portions).split()) == "".join(text.split())
    assert all(len(portion) <= MAX_PHONEMES for portion in portions)
