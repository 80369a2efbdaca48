import pytest
from hypothesis import given
from hypothesis import strategies as st

from servekit.media.scripts import columns, is_spaced, is_unspaced, join, tokens, words


@pytest.mark.parametrize(
    ("texts", "joined"),
    [
        (["Hello.", " How are you?"], "Hello. How are you?"),
        (["今天", "天气", "OK"], "今天天气OK"),
        (["今天。", "天气"], "今天。天气"),
        (["สวัสดี", "ครับ"], "สวัสดีครับ"),
        (["안녕", "하세요"], "안녕 하세요"),
        (["ＡＢ", "ＣＤ"], "ＡＢ ＣＤ"),
        (["", " "], ""),
    ],
)
def test_texts_are_joined_as_their_script_has_it(texts, joined):
    assert join(texts) == joined


def test_no_space_belongs_before_or_after_nothing():
    assert is_spaced("a", "b")
    assert not is_spaced("", "b")
    assert not is_spaced("a", "")


def test_words_have_the_space_before_them():
    assert words(" Hi there,  世界。ok ") == [" Hi", " there,", "  世", "界", "。", "ok"]
    assert words(" \n") == []


@given(st.text())
def test_words_are_the_text_again(text):
    assert "".join(words(text)) == text.rstrip()


def test_a_great_deal_of_space_is_no_work():
    assert words("a" + " " * 1_000_000) == ["a"]


def test_tokens_keep_their_punctuation():
    assert tokens("他说「你好」。 ok then") == ["他", "说", "「你", "好」。", "ok", "then"]


@pytest.mark.parametrize(
    ("text", "unspaced"),
    [
        ("今日はいい天気ですね", True),
        ("สวัสดี", True),
        ("The word 你好 means hello", False),
        ("안녕 하세요", False),
        ("", False),
    ],
)
def test_what_is_written_without_spaces(text, unspaced):
    assert is_unspaced(text) == unspaced


def test_wide_characters_take_two_columns():
    assert columns("ab") == 2
    assert columns("你好") == 4
    assert columns("e\u0301") == 1
