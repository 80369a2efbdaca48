"""What stands is not heard again, and is in the text once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.speech.live.agreement import Agreement
from services.speech.live.keeping import CERTAIN_SECONDS, Kept
from services.speech.transcription import Passage, Segment, Word

SECOND = 16_000
HALF = 0.5  # a word each


def spoken(seconds, quiet=()):
    """A phrase: loud, with a moment of quiet at some times."""
    sound = np.full(int(seconds * SECOND), 0.5, np.float32)
    for time in quiet:
        sound[int((time - 0.04) * SECOND) : int((time + 0.04) * SECOND)] = 0.0
    return sound


def heard(words, begin=0.0, *, timed=True):
    """A passage of words, half a second each from `begin` on."""
    times = tuple(Word(begin + n * HALF, begin + (n + 1) * HALF, word, 0.9) for n, word in enumerate(words))
    end = begin + len(words) * HALF
    return Passage("en", 0.9, (Segment(begin, end, " ".join(words), -0.2, 0.0, words=times if timed else ()),))


def agreed(text):
    agreement = Agreement()
    agreement.hear(text)
    agreement.hear(text)
    return agreement


NUMBERS = [f"w{n}" for n in range(60)]


def test_the_cut_is_where_it_is_quietest_between_two_stable_words():
    agreement = agreed(" ".join(NUMBERS[:10]))
    kept = Kept().grown(spoken(8, quiet=[1.0, 3.5, 6.0]), heard(NUMBERS[:16]), agreement)
    assert kept.text == "w0 w1 w2 w3 w4 w5 w6"
    assert kept.end / SECOND == pytest.approx(3.5, abs=0.04)
    assert agreement.stable_after(kept.text) == " w7 w8 w9"
    further = kept.grown(spoken(6, quiet=[2.5]), heard(NUMBERS[7:19]), agreed(" ".join(NUMBERS[:19])))
    assert further.text == "w0 w1 w2 w3 w4 w5 w6 w7 w8 w9 w10 w11"
    assert further.end / SECOND == pytest.approx(6.0, abs=0.08)
    assert [(one.start, one.words) for one in further.segments] == [(0.0, ()), (kept.end / SECOND, ())]


def test_what_follows_has_its_times_from_the_beginning_of_the_phrase():
    kept = Kept(heard(["one"]).segments, 2 * SECOND)
    whole = kept.followed_by(heard(["two"], 0.25))
    assert [(one.text, one.start, one.end) for one in whole.segments] == [("one", 0.0, 0.5), ("two", 2.25, 2.75)]
    assert kept.followed_by(Passage("en", 1.0, ())).segments == kept.segments


@pytest.mark.parametrize(
    ("seconds", "passage", "stable"),
    [
        (3.9, heard(NUMBERS[:7]), NUMBERS[:7]),  # short enough
        (8, heard(NUMBERS[:16], timed=False), NUMBERS[:16]),
        (8, heard(NUMBERS[:16]), []),
        (8, heard(NUMBERS[:16]), NUMBERS[:4]),  # no stable word would follow a cut behind 2 s
        (8, heard(["other", *NUMBERS[1:16]]), NUMBERS[:16]),
        (8, heard(NUMBERS[:4], 6.1), NUMBERS[:4]),  # too late
        (8, Passage("", 0.0, ()), NUMBERS[:4]),
    ],
)
def test_nothing_is_kept_that_is_not_certain(seconds, passage, stable):
    assert Kept().grown(spoken(seconds), passage, agreed(" ".join(stable))) == Kept()


def test_what_may_become_the_next_phrase_is_not_kept():
    begin = int((CERTAIN_SECONDS - 3) * SECOND)
    kept = Kept((), begin).grown(spoken(6, quiet=[4.0]), heard(NUMBERS[:12]), agreed(" ".join(NUMBERS)))
    assert begin + 1.8 * SECOND < kept.end <= CERTAIN_SECONDS * SECOND


def test_scripts_without_spaces_are_cut_between_words_too():
    words = ["今天", "天气", "很", "好", "我们", "出去", "走", "走", "吧", "。", "你", "来", "吗"]
    agreement = agreed("".join(words))
    passage = heard(words)
    kept = Kept().grown(spoken(6.5, quiet=[2.5]), passage, agreement)
    assert kept.text == "今天天气很好我们"
    assert kept.text + agreement.stable_after(kept.text) == agreement.stable


@given(st.lists(st.lists(st.integers(0, 30), max_size=3), min_size=20, max_size=40), st.randoms(use_true_random=False))
def test_stable_words_never_change_however_they_are_cut(mistakes, random):
    """A model that mishears words, other ones each time, and is given what is left of a phrase that grows."""
    agreement, kept, stable = Agreement(), Kept(), ""
    for step, wrong in enumerate(mistakes):
        seconds = (step + 2) * HALF
        begin = -(-kept.end // int(SECOND * HALF))  # the first whole word of the rest
        words = [f"x{random.random()}" if n in wrong else NUMBERS[n] for n in range(begin, step + 2)]
        forced = agreement.stable_after(kept.text).split()
        words[: len(forced)] = forced
        rest = heard(words, begin * HALF - kept.end / SECOND)
        agreement.hear(" ".join(one.text for one in kept.followed_by(rest).segments))
        assert agreement.stable.startswith(stable)
        stable = agreement.stable
        grown = kept.grown(spoken(seconds - kept.end / SECOND), rest, agreement)
        assert stable.startswith(grown.text)
        assert kept.end <= grown.end < seconds * SECOND
        assert agreement.settle(grown.text).startswith(stable)
        kept = grown
