"""What of a text is spoken, and who can read it."""

import pytest

from services.speech.synthesis.scripts import has_words, language_of, spoken, unreadable


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Hi 👩‍👩‍👧‍👦 there 🎉!", "Hi there !"),
        ("Step 1️⃣ ✓", "Step 1 "),
        ("ＡＢ１", "AB1"),
        ("cafe\u0301\u200b", "café"),
        ("a\x00b\nc", "ab\nc"),
        ("你好，世界！", "你好，世界！"),
    ],
)
def test_what_is_spoken(text, said):
    assert spoken(text) == said


@pytest.mark.parametrize("text", ["", " \n", "?!…", "😀 🎉", "-", "   ...  "])
def test_nothing_to_say(text):
    assert not has_words(spoken(text))


@pytest.mark.parametrize(
    ("text", "language", "letter"),
    [
        ("Hello 你好", "en", "你"),
        ("Привет", "en", "П"),
        ("٣ items", "en", "٣"),
        ("naïve Ω café H₂O", "en", ""),
        ("你好 OK", "zh", ""),
        ("こんにちは", "zh", "こ"),
        ("日本のカナ", "ja", ""),
        ("안녕", "ko", ""),
    ],
)
def test_the_first_letter_that_cannot_be_read(text, language, letter):
    assert unreadable(text, language) == letter


def test_the_language_is_the_first_that_has_the_letters():
    assert language_of("Hello", ("en", "zh", "ja")) == "en"
    assert language_of("你好", ("en", "zh", "ja")) == "zh"
    assert language_of("こんにちは", ("en", "zh", "ja")) == "ja"
    assert language_of("Привет", ("en", "zh")) == "en"
