import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.metrics import accuracy, character_error_rate, recall, says, spoken, word_error_rate, words, written

TEXTS = st.text("ab c有没。,.'\u2019Ａ\n", min_size=1, max_size=30)


def test_speech_is_compared_by_its_words_alone():
    assert words("Mr. Brown’s dog—he DIDN'T bark!") == ["mr", "brown's", "dog", "he", "didn't", "bark"]
    assert word_error_rate(["He is ill-disposed."], ["he is ill disposed"]) == 0


def test_word_error_rate_counts_replaced_left_out_and_added_words():
    assert word_error_rate(["one two three four"], ["one too three"]) == pytest.approx(2 / 4)
    assert word_error_rate(["one two"], ["one and two"]) == pytest.approx(1 / 2)


def test_errors_of_all_texts_are_pooled_so_that_a_short_one_weighs_little():
    assert word_error_rate(["a b c d e f g h i", "z"], ["a b c d e f g h i", ""]) == pytest.approx(1 / 10)


def test_more_errors_than_words_are_given_as_one():
    assert word_error_rate(["hello"], ["this is all wrong"]) == 1


def test_chinese_is_counted_by_character():
    assert word_error_rate(["会议在广州"], ["会议在杭州"]) == pytest.approx(1 / 5)
    assert character_error_rate([written("上午 九点")], [written("上午九点")]) == 0
    assert spoken("我 有 一只 Cat。") == "我有一只cat"


def test_print_keeps_capitals_punctuation_and_spaces_between_latin_words():
    assert written(" Total  EUR\n31.05 ") == "Total EUR 31.05"
    assert character_error_rate(["Total"], ["total"]) == pytest.approx(1 / 5)
    assert character_error_rate(["a b"], ["ab"]) == pytest.approx(1 / 3)
    assert written("（Ａ，Ｂ）") == "(A,B)"


def test_recall_looks_at_the_first_k_alone():
    assert recall([{"a"}, {"b"}], [["x", "a", "y"], ["x", "y", "b"]], 2) == pytest.approx(1 / 2)
    assert recall([{"a", "b"}], [["a", "x", "a"]], 3) == pytest.approx(1 / 2)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("Bergen.", "Bergen"),
        ("The ferry leaves from **Bergen**.", "bergen"),
        ("No, it is Paris.", "Paris"),
        ("不是，是红色", "红色"),
        ("有病变。", "有"),
        ("It costs 3,500 euros", "3,500"),
        ("It is in the U.S.", "U.S."),
        ("没有", "没有"),
        ("No.", "no"),
    ],
)
def test_an_answer_says(answer, text):
    assert says(answer, text)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("没有病变", "有"),
        ("不是红色", "红色"),
        ("It is not red", "red"),
        ("It isn’t red", "red"),
        ("At the party", "art"),
        ("14", "4"),
        ("", "Bergen"),
        ("Greta, and then Lindqvist", "Greta Lindqvist"),
    ],
)
def test_an_answer_does_not_say(answer, text):
    assert not says(answer, text)


def test_accuracy_is_the_share_of_answers_that_say_any_of_theirs():
    assert accuracy([("four", "4"), ("sand",)], ["In room 4.", "water"]) == pytest.approx(1 / 2)


@given(st.lists(st.tuples(TEXTS.filter(words), TEXTS), min_size=1, max_size=5))
def test_rates_are_shares_and_nought_for_the_same(pairs):
    expected, found = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    assert 0 <= word_error_rate(expected, found) <= 1
    assert word_error_rate(expected, expected) == 0
    assert 0 <= character_error_rate([written(text) for text in expected], [written(text) for text in found]) <= 1
