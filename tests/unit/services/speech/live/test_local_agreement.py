"""Words that stand never fall, whatever is heard afterwards."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.speech.live.local_agreement import LocalAgreement

TEXTS = st.lists(st.sampled_from(["a", "b", "a,", "B", "你", "好 ", "。", "はい", "ครับ", " ", ""])).map(" ".join)


def test_a_word_is_committed_once_two_decodings_agree_on_it():
    agreement = LocalAgreement()
    agreement.update("I went")
    assert (agreement.committed, agreement.tentative) == ("", "I went")
    agreement.update("I want to go")
    assert (agreement.committed, agreement.tentative) == ("I", " want to go")
    agreement.update("I want to gather")
    assert (agreement.committed, agreement.tentative) == ("I want to", " gather")
    agreement.update("You won two gatherings")
    assert agreement.committed == "I want to"
    assert agreement.tentative == " gatherings"
    assert agreement.finalize("I wanted to gather it all.") == "I want to gather it all."


def test_scripts_without_spaces_become_stable_by_the_character():
    agreement = LocalAgreement()
    agreement.update("今天天气很")
    agreement.update("今天天空")
    assert (agreement.committed, agreement.tentative) == ("今天天", "空")


def test_a_decoding_that_has_lost_words_takes_none_back():
    agreement = LocalAgreement()
    agreement.update("one two three")
    agreement.update("one two three")
    agreement.update("")
    assert agreement.committed == "one two three"
    assert agreement.finalize("") == "one two three"


def test_what_is_stable_behind_a_text_that_it_begins_with():
    agreement = LocalAgreement()
    agreement.update("I went home")
    agreement.update("I went home")
    assert agreement.committed_after(" I  went") == " home"
    assert agreement.committed_after("I went home") == ""
    assert agreement.committed_after("") == "I went home"
    assert agreement.committed_after("I wen") == ""
    assert agreement.committed_after("I went home again") == ""


@given(st.lists(TEXTS), TEXTS)
def test_stable_words_never_change(heard, last):
    agreement = LocalAgreement()
    committed = ""
    for text in heard:
        agreement.update(text)
        assert agreement.committed.startswith(committed)
        committed = agreement.committed
    assert agreement.finalize(last).startswith(committed)


@given(TEXTS)
def test_a_text_that_is_decoded_twice_is_committed(text):
    agreement = LocalAgreement()
    agreement.update(text)
    agreement.update(text)
    assert (agreement.committed, agreement.tentative) == (" ".join(text.split()), "")


@pytest.mark.parametrize("text", ["", "  ", "\n"])
def test_nothing_is_nothing(text):
    agreement = LocalAgreement()
    agreement.update(text)
    assert agreement.finalize(text) == ""
