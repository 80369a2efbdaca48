import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.speech.words import fold, split


def test_words_keep_their_punctuation_and_their_line():
    found = split("“Well — no,” he said.\n\n- 你好，世界。")
    assert [(word.text, word.key, word.line) for word in found] == [
        ("“Well —", "well", 0),
        ("no,”", "no", 0),
        ("he", "he", 0),
        ("said.", "said", 0),
        ("你", "你", 2),
        ("好，", "好", 2),
        ("世", "世", 2),
        ("界。", "界", 2),
    ]


@pytest.mark.parametrize(
    ("written", "key"),
    [
        ("It’s", "it's"),
        ("3.5", "3.5"),
        ("1,000", "1000"),
        ("ＡＢＣ", "abc"),
        ("'tis", "tis"),
        ("well-known", "wellknown"),
    ],
)
def test_what_is_compared(written, key):
    assert fold(written) == key


@pytest.mark.parametrize("text", ["", "  \n", "...!?", "🙂 🙃", "—"])
def test_there_are_no_words_in_marks(text):
    assert split(text) == []


@given(st.text())
def test_no_letter_or_digit_is_lost(text):
    kept = fold("".join(word.text for word in split(text)))
    assert fold("".join(text.split())).replace("'", "").replace(".", "") == kept.replace("'", "").replace(".", "")
