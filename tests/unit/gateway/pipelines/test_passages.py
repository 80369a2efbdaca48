import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.pipelines import passages
from gateway.pipelines.passages import blocks, rough_tokens, split_passages

MIB = 1 << 20
ROWS = [f"{n},pump {n % 7},{n * 7 % 1000},4.{n % 10} bar" for n in range(400_000)]
UNBROKEN = {
    "csv": "\n".join(ROWS),
    "log": "\n".join(f"2026-01-01T10:00:{n % 60:02} INFO worker-{n % 7} took {n % 90} ms" for n in range(200_000)),
    "json": json.dumps([{"id": n, "v": "x" * (n % 30)} for n in range(300_000)], separators=(",", ":")),
    "chinese": "今天天气好明天下雨" * (MIB // 3),
    "accents": "é" * 4 * MIB,
    "one word": "x" * 8 * MIB,
    "short sentences": "a. " * MIB,
    "full stops": "。" * (8 * MIB // 3),
    "spaces": "a" + " " * 8 * MIB + "b",
    "empty lines": "\n \n" * (8 * MIB // 3),
}


def test_passages_are_whole_sentences_that_overlap_by_one():
    text = "One two three four. Five six seven. Eight nine ten eleven."
    assert list(split_passages(text, 10)) == [
        "One two three four. Five six seven.",
        "Five six seven. Eight nine ten eleven.",
    ]


def test_an_empty_line_ends_a_sentence():
    assert list(split_passages("A heading\r\n \r\nA sentence that\nis wrapped", 8)) == [
        "A heading",
        "A sentence that is wrapped",
    ]


def test_a_sentence_that_is_too_long_is_cut_between_words():
    assert list(split_passages("aaaa bbbb cccc dddd", 3)) == ["aaaa bbbb", "cccc dddd"]


def test_rows_stay_whole():
    for passage in split_passages("\n".join(ROWS[:500]), 120):
        assert set(passage.replace(" bar ", " bar\n").split("\n")) <= set(ROWS)


def test_json_on_one_line_is_cut_after_a_comma():
    *most, _ = split_passages(UNBROKEN["json"][:10_000], 120)
    assert all(passage.endswith(",") and len(passage) > 240 for passage in most)


def test_a_word_that_is_too_long_is_cut_into_the_longest_pieces():
    assert [len(passage) for passage in split_passages("x" * 1000, 120)] == [480, 480, 40]
    assert [len(passage) for passage in split_passages("é" * 250, 120)] == [120, 120, 10]
    [passage, *_] = split_passages("exposé" * 400, 120)
    assert 119 < rough_tokens(passage) <= 120


@pytest.mark.parametrize("text", ["", "  \n\n ", "\t"])
def test_an_empty_text_has_no_passages(text):
    assert list(split_passages(text, 10)) == []


def test_chinese_is_cut_at_its_own_full_stops_and_commas():
    assert list(split_passages("今天天气好。明天下雨。", 6)) == ["今天天气好。", "明天下雨。"]
    assert list(split_passages("今天天气好，明天下雨", 8)) == ["今天天气好，", "明天下雨"]


@given(st.text(alphabet="ab 。.,\n中é", max_size=400), st.integers(3, 40))
def test_every_word_is_kept_and_every_passage_fits(text, tokens):
    split = list(split_passages(text, tokens))
    assert all(0 < rough_tokens(passage) <= tokens + len(passage) for passage in split)
    joined = "".join(split).replace(" ", "")
    assert set(joined) == set("".join(text.split()))
    assert len(joined) >= len("".join(text.split()))


@given(st.text(alphabet="ab 。.,\n\t中é", max_size=400), st.integers(1, 20), st.integers(1, 30))
def test_blocks_change_no_passage(text, tokens, size):
    whole = list(split_passages(text, tokens))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passages, "BLOCK", size)
        assert list(split_passages(text, tokens)) == whole


@pytest.mark.parametrize("text", UNBROKEN.values(), ids=UNBROKEN)
def test_splitting_is_linear_and_processes_a_block_at_a_time(text):
    assert all(len(block) <= passages.BLOCK + 2 for block in blocks(text))

    def seconds(size):
        began = time.thread_time()
        list(split_passages(text[:size], 120))
        return time.thread_time() - began

    # Quadratic work takes 16 times as long for 4 times the text.
    assert seconds(len(text)) < 8 * max(seconds(len(text) // 4), 0.02)
    assert seconds(len(text)) < 30
