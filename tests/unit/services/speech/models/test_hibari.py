"""Hibari on the voice that its package carries: what it reads, what it refuses, how long a step may be."""

import time

import numpy as np
import pytest
from hibari import Hibari as Engine
from hypothesis import given, settings
from hypothesis import strategies as st

from servekit.call import Flag
from servekit.errors import Cancelled, InvalidArgument
from services.speech.models.hibari import MAX_CHARACTERS, Hibari, cut

VOICE = Hibari(Engine(threads=1))


@pytest.fixture(scope="module")
def voice():
    VOICE.warm()
    return VOICE


def speak(voice, text, speed=1.0):
    voice.check(text)
    return list(voice.synthesize(text, "heart", speed, Flag()))


def test_speaks_a_sentence_at_a_time_and_the_same_every_time(voice):
    text = "Dr. Smith paid $9.99 on 3 March. Nobody saw it!"
    first, second = speak(voice, text)
    assert first.dtype == np.float32
    assert len(first) > len(second) > voice.sample_rate / 2
    assert 0.05 < np.abs(first).max() <= 1.0
    assert all(np.array_equal(a, b) for a, b in zip(speak(voice, text), (first, second), strict=True))


def test_speed_shortens(voice):
    slow, fast = (sum(map(len, speak(voice, "Nobody saw it that year.", speed))) for speed in (0.5, 2.0))
    assert slow > 2.5 * fast


@pytest.mark.parametrize("text", ["", " \n", "?!…", "😀 🎉", "-", "   ...  "])
def test_nothing_to_say_is_refused(voice, text):
    with pytest.raises(InvalidArgument, match="no words") as raised:
        voice.check(text)
    assert raised.value.field == "text"


@pytest.mark.parametrize(("text", "letter"), [("Hello 你好", "你"), ("Привет", "П"), ("٣ items", "٣")])
def test_letters_of_other_scripts_are_refused_by_name(voice, text, letter):
    with pytest.raises(InvalidArgument, match=letter):
        voice.check(text)


ODD = ["H₂O and E=mc²", "café naïve Ångström", "½ cup 😀", "1" * 60, "1," * 60, "x₁ [a](/hə/)"]


@pytest.mark.parametrize("text", ODD)
def test_odd_spellings_are_spoken(voice, text):
    assert sum(map(len, speak(voice, text))) > voice.sample_rate / 4


@settings(max_examples=100, deadline=None)
@given(text=st.text("abXZ 0159.,!?'\"-–/:;$£%&@#()[]<>=+~^_|\\½²°µéßΩ₂ª™…“”\n\t😀\x00\u0301", max_size=40))
def test_any_text_is_spoken_or_refused(text):
    try:
        VOICE.check(text)
        portions = list(VOICE._phonemes(text))
    except InvalidArgument:
        return
    assert all(len(portion) <= 400 for portion in portions)


@pytest.mark.parametrize("text", ["a-" * 300, "1" * 600, "ab " * 300, "a." * 300, "!" * 600 + "a"])
def test_no_step_is_long(voice, text):
    longest, last = 0.0, time.monotonic()
    for _ in voice.synthesize(text, "heart", 1.0, Flag()):
        longest, last = max(longest, time.monotonic() - last), time.monotonic()
    assert longest < 2.0


def test_stops_between_sentences_when_nobody_listens(voice):
    flag = Flag()
    sentences = voice.synthesize("One. Two. Three.", "heart", 1.0, flag)
    next(sentences)
    flag.set()
    with pytest.raises(Cancelled):
        next(sentences)


@given(text=st.text("ab ,;:", max_size=200), longest=st.integers(1, 30))
def test_cut_keeps_every_character_but_space_and_no_portion_is_longer(text, longest):
    portions = list(cut(text, longest))
    assert "".join("".join(portions).split()) == "".join(text.split())
    assert all(len(portion) <= longest for portion in portions)


def test_cut_prefers_clauses():
    assert list(cut("one two, three four", 12)) == ["one two,", "three four"]
    assert list(cut("a short one", MAX_CHARACTERS)) == ["a short one"]
