"""Words that stand never fall, whatever is heard afterwards."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.speech.live.agreement import Agreement

TEXTS = st.lists(st.sampled_from(["a", "b", "a,", "B", "你", "好 ", "。", "はい", "ครับ", " ", ""])).map(" ".join)


def test_a_word_stands_once_two_decodings_have_it_in_its_place():
    agreement = Agreement()
    agreement.hear("I went")
    assert (agreement.stable, agreement.unstable) == ("", "I went")
    agreement.hear("I want to go")
    assert (agreement.stable, agreement.unstable) == ("I", " want to go")
    agreement.hear("I want to gather")
    assert (agreement.stable, agreement.unstable) == ("I want to", " gather")
    agreement.hear("You won two gatherings")
    assert agreement.stable == "I want to"
    assert agreement.unstable == " gatherings"
    assert agreement.settle("I wanted to gather it all.") == "I want to gather it all."


def test_scripts_without_spaces_become_stable_by_the_character():
    agreement = Agreement()
    agreement.hear("今天天气很")
    agreement.hear("今天天空")
    assert (agreement.stable, agreement.unstable) == ("今天天", "空")


def test_a_decoding_that_has_lost_words_takes_none_back():
    agreement = Agreement()
    agreement.hear("one two three")
    agreement.hear("one two three")
    agreement.hear("")
    assert agreement.stable == "one two three"
    assert agreement.settle("") == "one two three"


def test_what_is_stable_behind_a_text_that_it_begins_with():
    agreement = Agreement()
    agreement.hear("I went home")
    agreement.hear("I went home")
    assert agreement.stable_after(" I  went") == " home"
    assert agreement.stable_after("I went home") == ""
    assert agreement.stable_after("") == "I went home"
    assert agreement.stable_after("I wen") == ""
    assert agreement.stable_after("I went home again") == ""


@given(st.lists(TEXTS), TEXTS)
def test_stable_words_never_change(heard, last):
    agreement = Agreement()
    stable = ""
    for text in heard:
        agreement.hear(text)
        assert agreement.stable.startswith(stable)
        stable = agreement.stable
    assert agreement.settle(last).startswith(stable)


@given(TEXTS)
def test_what_is_heard_twice_is_stable_as_it_was_heard(text):
    agreement = Agreement()
    agreement.hear(text)
    agreement.hear(text)
    assert (agreement.stable, agreement.unstable) == (" ".join(text.split()), "")


@pytest.mark.parametrize("text", ["", "  ", "\n"])
def test_nothing_is_nothing(text):
    agreement = Agreement()
    agreement.hear(text)
    assert agreement.settle(text) == ""
