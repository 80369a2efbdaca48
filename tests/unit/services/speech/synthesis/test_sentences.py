"""Where sentences end, and where long ones are cut."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.speech.synthesis.sentences import PARAGRAPH_SECONDS, SENTENCE_SECONDS, pieces, plan, sentences

TEXTS = {
    "Dr. Smith came. Nobody saw him!": ["Dr. Smith came.", "Nobody saw him!"],
    "It cost $3.50 then. Now 4.5 times as much.": ["It cost $3.50 then.", "Now 4.5 times as much."],
    "J. K. Rowling wrote it. I read it.": ["J. K. Rowling wrote it.", "I read it."],
    "See https://a.example/b.c?d=e. Then go.": ["See https://a.example/b.c?d=e.", "Then go."],
    'He said "Stop!" and left. "Why?" she asked.': ['He said "Stop!" and left.', '"Why?" she asked.'],
    "“It ends.” Then it began.": ["“It ends.”", "Then it began."],
    "Well... maybe. Or... Perhaps not.": ["Well... maybe.", "Or...", "Perhaps not."],
    "We met at 5 p.m. in the U.S. embassy. He left at 6 p.m. The end.": [
        "We met at 5 p.m. in the U.S. embassy.",
        "He left at 6 p.m.",
        "The end.",
    ],
    "Bread, milk, etc. Then home.": ["Bread, milk, etc.", "Then home."],
    "Tools, e.g. Hammers, are here.": ["Tools, e.g. Hammers, are here."],
    "1. First item. 2. Second item.": ["1. First item.", "2. Second item."],
    "See Fig. 3 on pp. 4 and 5. No. 6 is alive.": ["See Fig. 3 on pp. 4 and 5.", "No. 6 is alive."],
    "What?! No way!!! Yes.": ["What?!", "No way!!!", "Yes."],
    "你好，世界！今天天气很好。再见": ["你好，世界！", "今天天气很好。", "再见"],
    "今日は。「はい。」と言った。元気ですか？": ["今日は。", "「はい。」と言った。", "元気ですか？"],
    "他说：“走吧。”他走了。": ["他说：“走吧。”", "他走了。"],
    "A heading\nAnd a text.": ["A heading", "And a text."],
    "A line that was wrapped\nin the middle.": ["A line that was wrapped in the middle."],
    "no point at all": ["no point at all"],
    "  \n\n ": [],
}


@pytest.mark.parametrize("text", TEXTS)
def test_sentences(text):
    assert [sentence.text for sentence in sentences(text)] == TEXTS[text]


def test_a_paragraph_ends_with_a_longer_silence():
    pauses = [sentence.pause for sentence in sentences("One. Two.\n\nThree.")]
    assert pauses == [SENTENCE_SECONDS, PARAGRAPH_SECONDS, PARAGRAPH_SECONDS]


@given(text=st.text("ab .!?…,;\n\"'”)1。！」", max_size=300))
def test_no_character_is_lost(text):
    said = "".join(sentence.text for sentence in sentences(text))
    assert "".join(said.split()) == "".join(text.split())


@given(text=st.text("abc ,;:、—", max_size=300), most=st.integers(4, 60), first=st.integers(4, 60))
def test_pieces_keep_every_character_and_none_is_longer(text, most, first):
    cut = list(pieces(text, most, first))
    assert "".join("".join(cut).split()) == "".join(text.split())
    assert all(len(piece) <= most for piece in cut)
    assert not cut or len(cut[0]) <= first


LONG = "Because the committee had never been asked to consider such a matter, it adjourned, and everybody went home."


def test_a_long_first_sentence_begins_with_a_short_piece():
    first, *rest = [piece.text for piece in plan(sentences(LONG), 200)]
    assert first == "Because the committee had never been"
    assert len(rest) == 1
    assert " ".join([first, *rest]) == LONG


def test_pieces_grow_until_they_are_as_long_as_the_model_takes():
    lengths = [len(piece.text) for piece in plan(sentences(" ".join(["word"] * 300)), 200)]
    assert [lengths[at] <= most for at, most in enumerate((40, 80, 160, 200))] == [True] * 4
    assert lengths[1] > 70
    assert lengths[4] > 180
    assert max(lengths) <= 200


def test_clauses_are_preferred():
    assert list(pieces("one two, three four", 12, 12)) == ["one two,", "three four"]
    assert list(pieces("今天天气，很好很好", 6, 6)) == ["今天天气，", "很好很好"]


@pytest.mark.parametrize("text", ["!" * 60_000, "a. " * 20_000, " \n" * 30_000, "Dr. " * 15_000, "." * 60_000 + "x"])
def test_hard_texts_take_no_time(text):
    began = time.thread_time()
    assert list(plan(sentences(text), 200)) is not None
    assert time.thread_time() - began < 2.0
