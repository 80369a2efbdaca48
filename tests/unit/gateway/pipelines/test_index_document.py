import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.pipelines.index_document import rough_tokens, split_passages


def test_passages_are_whole_sentences_that_overlap_by_one():
    text = "One two three four. Five six seven. Eight nine ten eleven."
    assert list(split_passages(text, 10)) == [
        "One two three four. Five six seven.",
        "Five six seven. Eight nine ten eleven.",
    ]


def test_a_sentence_that_is_too_long_is_cut_between_words():
    assert list(split_passages("aaaa bbbb cccc dddd", 3)) == ["aaaa bbbb", "cccc dddd"]


@pytest.mark.parametrize("text", ["", "  \n\n ", "\t"])
def test_nothing_gives_nothing(text):
    assert list(split_passages(text, 10)) == []


def test_chinese_is_cut_at_its_own_full_stops():
    assert list(split_passages("今天天气好。明天下雨。", 6)) == ["今天天气好。", "明天下雨。"]


@given(st.text(alphabet="ab 。.\n中é", max_size=400), st.integers(3, 40))
def test_every_word_is_kept_and_every_passage_fits(text, tokens):
    passages = list(split_passages(text, tokens))
    assert all(0 < rough_tokens(passage) <= tokens + len(passage) for passage in passages)
    joined = "".join(passages).replace(" ", "")
    assert set(joined) == set("".join(text.split()))
    assert len(joined) >= len("".join(text.split()))
