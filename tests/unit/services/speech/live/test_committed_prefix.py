"""What stands is not heard again, and is in the text once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.speech.live.committed_prefix import CERTAIN_SECONDS, CommittedPrefix
from services.speech.live.local_agreement import LocalAgreement
from services.speech.transcription import RecognizedWord, Segment, WindowResult

SECOND = 16_000
HALF = 0.5  # a word each


def last_speech_at(seconds, quiet=()):
    """A utterance: loud, with a moment of quiet at some times."""
    sound = np.full(int(seconds * SECOND), 0.5, np.float32)
    for time in quiet:
        sound[int((time - 0.04) * SECOND) : int((time + 0.04) * SECOND)] = 0.0
    return sound


def heard(words, begin=0.0, *, timed=True):
    """A result of words, half a second each from `begin` on."""
    times = tuple(RecognizedWord(begin + n * HALF, begin + (n + 1) * HALF, word, 0.9) for n, word in enumerate(words))
    end = begin + len(words) * HALF
    return WindowResult("en", 0.9, (Segment(begin, end, " ".join(words), -0.2, 0.0, words=times if timed else ()),))


def agreed(text):
    agreement = LocalAgreement()
    agreement.update(text)
    agreement.update(text)
    return agreement


NUMBERS = [f"w{n}" for n in range(60)]


def test_the_cut_is_where_it_is_quietest_between_two_stable_words():
    agreement = agreed(" ".join(NUMBERS[:10]))
    committed_prefix = CommittedPrefix().extended(
        last_speech_at(8, quiet=[1.0, 3.5, 6.0]), heard(NUMBERS[:16]), agreement
    )
    assert committed_prefix.text == "w0 w1 w2 w3 w4 w5 w6"
    assert committed_prefix.end / SECOND == pytest.approx(3.5, abs=0.04)
    assert agreement.committed_after(committed_prefix.text) == " w7 w8 w9"
    further = committed_prefix.extended(
        last_speech_at(6, quiet=[2.5]), heard(NUMBERS[7:19]), agreed(" ".join(NUMBERS[:19]))
    )
    assert further.text == "w0 w1 w2 w3 w4 w5 w6 w7 w8 w9 w10 w11"
    assert further.end / SECOND == pytest.approx(6.0, abs=0.08)
    assert [(one.start, one.words) for one in further.segments] == [(0.0, ()), (committed_prefix.end / SECOND, ())]


def test_what_follows_has_its_times_from_the_beginning_of_the_phrase():
    committed_prefix = CommittedPrefix(heard(["one"]).segments, 2 * SECOND)
    whole = committed_prefix.followed_by(heard(["two"], 0.25))
    assert [(one.text, one.start, one.end) for one in whole.segments] == [("one", 0.0, 0.5), ("two", 2.25, 2.75)]
    assert committed_prefix.followed_by(WindowResult("en", 1.0, ())).segments == committed_prefix.segments


@pytest.mark.parametrize(
    ("seconds", "result", "committed"),
    [
        (3.9, heard(NUMBERS[:7]), NUMBERS[:7]),  # short enough
        (8, heard(NUMBERS[:16], timed=False), NUMBERS[:16]),
        (8, heard(NUMBERS[:16]), []),
        (8, heard(NUMBERS[:16]), NUMBERS[:4]),  # no committed word would decode a cut behind 2 s
        (8, heard(["other", *NUMBERS[1:16]]), NUMBERS[:16]),
        (8, heard(NUMBERS[:4], 6.1), NUMBERS[:4]),  # too late
        (8, WindowResult("", 0.0, ()), NUMBERS[:4]),
    ],
)
def test_nothing_is_kept_that_is_not_certain(seconds, result, committed):
    assert CommittedPrefix().extended(last_speech_at(seconds), result, agreed(" ".join(committed))) == CommittedPrefix()


def test_what_may_become_the_next_phrase_is_not_kept():
    begin = int((CERTAIN_SECONDS - 3) * SECOND)
    committed_prefix = CommittedPrefix((), begin).extended(
        last_speech_at(6, quiet=[4.0]), heard(NUMBERS[:12]), agreed(" ".join(NUMBERS))
    )
    assert begin + 1.8 * SECOND < committed_prefix.end <= CERTAIN_SECONDS * SECOND


def test_scripts_without_spaces_are_cut_between_words_too():
    words = ["今天", "天气", "很", "好", "我们", "出去", "走", "走", "吧", "。", "你", "来", "吗"]
    agreement = agreed("".join(words))
    result = heard(words)
    committed_prefix = CommittedPrefix().extended(last_speech_at(6.5, quiet=[2.5]), result, agreement)
    assert committed_prefix.text == "今天天气很好我们"
    assert committed_prefix.text + agreement.committed_after(committed_prefix.text) == agreement.committed


@given(st.lists(st.lists(st.integers(0, 30), max_size=3), min_size=20, max_size=40), st.randoms(use_true_random=False))
def test_stable_words_never_change_however_they_are_cut(mistakes, random):
    """A model that mishears words, other ones each time, and is given the rest of a growing utterance."""
    agreement, committed_prefix, committed = LocalAgreement(), CommittedPrefix(), ""
    for step, wrong in enumerate(mistakes):
        seconds = (step + 2) * HALF
        begin = -(-committed_prefix.end // int(SECOND * HALF))  # the first whole word of the rest
        words = [f"x{random.random()}" if n in wrong else NUMBERS[n] for n in range(begin, step + 2)]
        forced = agreement.committed_after(committed_prefix.text).split()
        words[: len(forced)] = forced
        rest = heard(words, begin * HALF - committed_prefix.end / SECOND)
        agreement.update(" ".join(one.text for one in committed_prefix.followed_by(rest).segments))
        assert agreement.committed.startswith(committed)
        committed = agreement.committed
        extended = committed_prefix.extended(last_speech_at(seconds - committed_prefix.end / SECOND), rest, agreement)
        assert committed.startswith(extended.text)
        assert committed_prefix.end <= extended.end < seconds * SECOND
        assert agreement.finalize(extended.text).startswith(committed)
        committed_prefix = extended
