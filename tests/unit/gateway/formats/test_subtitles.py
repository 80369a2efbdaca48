import html
import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.formats.subtitles import COLUMNS, GAP_MS, LINES, MAX_MS, MIN_MS, Cue, Timed, cues, lrc, phrases, srt, vtt
from servekit.media.scripts import columns

ROW = re.compile(r"(\d\d+):(\d\d):(\d\d)[,.](\d{3}) --> (\d\d+):(\d\d):(\d\d)[,.](\d{3})")


def said(text, seconds=0.4, start=0.0):
    return [Timed(start + i * seconds, start + (i + 1) * seconds, word) for i, word in enumerate(text.split())]


def parse(text):
    """Cues of SRT or WebVTT, by the blank lines between them."""
    found = []
    for block in text.strip("\n").split("\n\n"):
        lines = block.split("\n")
        at = next((i for i, line in enumerate(lines) if ROW.fullmatch(line)), None)
        if at is not None:
            h, m, s, ms, h2, m2, s2, ms2 = map(int, ROW.fullmatch(lines[at]).groups())
            begin, end = ((h * 60 + m) * 60 + s) * 1000 + ms, ((h2 * 60 + m2) * 60 + s2) * 1000 + ms2
            found.append(Cue(begin, end, tuple(lines[at + 1 :])))
    return found


word = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=60)
seconds = st.one_of(st.floats(), st.floats(0, 20_000), st.integers(0, 5))
runs = st.lists(st.lists(st.builds(Timed, seconds, seconds, word), max_size=12), max_size=3)


@settings(max_examples=60, deadline=None)
@given(runs)
def test_whatever_the_times_are_cues_follow_the_rules_and_lose_no_word(runs):
    rows = cues(runs)
    for row in rows:
        assert 0 <= row.start < row.end <= row.start + MAX_MS
        assert 1 <= len(row.lines) <= LINES
        assert all(line and columns(line) <= COLUMNS for line in row.lines)
    for before, after in pairwise(rows):
        assert before.end + GAP_MS <= after.start
    written = "".join(line for row in rows for line in row.lines)
    assert written.replace(" ", "") == "".join(timed.text for run in runs for timed in run)


@settings(max_examples=60, deadline=None)
@given(runs)
def test_written_subtitles_parse_back(runs):
    rows = cues(runs)
    arrows = [Cue(row.start, row.end, tuple("\n".join(row.lines).replace("-->", "→").split("\n"))) for row in rows]
    assert parse(srt(rows)) == arrows
    plain = [Cue(row.start, row.end, tuple(map(html.unescape, row.lines))) for row in parse(vtt(rows))]
    assert vtt(rows).startswith("WEBVTT\n")
    assert plain == rows
    assert not any("-->" in line or "<" in line for row in parse(vtt(rows)) for line in row.lines)
    stamps = [(int(m), int(s), int(c)) for m, s, c in re.findall(r"^\[(\d+):(\d\d)\.(\d\d)\]", lrc(rows), re.MULTILINE)]
    assert stamps == sorted(stamps)
    assert len(stamps) == len(lrc(rows).splitlines()) >= len(rows)


def test_a_sentence_that_fits_is_one_cue_of_balanced_lines():
    (row,) = cues([said("The ship sailed slowly into the harbour, and nobody was there to see it.", 0.3)])
    assert row.lines == ("The ship sailed slowly into the harbour,", "and nobody was there to see it.")
    assert (row.start, row.end) == (0, 4200)


def test_cues_break_at_the_ends_of_sentences():
    text = "This is the first sentence of a longer story. " * 2 + "Then it goes on and on, without an end in sight."
    rows = [" ".join(row.lines) for row in cues([said(text, 0.2)])]
    assert rows[0] == "This is the first sentence of a longer story."
    assert rows[-1].endswith("without an end in sight.")


def test_silence_parts_cues_and_short_ones_last_a_second():
    words = [Timed(1.0, 1.2, "Yes."), Timed(5.0, 5.4, "No.")]
    rows = cues(phrases(words))
    assert [(row.start, row.end, row.lines) for row in rows] == [(1000, 2000, ("Yes.",)), (5000, 6000, ("No.",))]
    assert rows[0].end - rows[0].start == MIN_MS


def test_nothing_lasts_longer_than_seven_seconds():
    rows = cues([said("one two three four five six", 2.5)])
    assert [row.lines for row in rows] == [("one two",), ("three four",), ("five six",)]


def test_chinese_has_half_as_many_characters_and_no_spaces():
    text = "今天天气很好，我们一起去公园散步吧。孩子们在草地上跑来跑去，老人们坐在树下下棋聊天，真是热闹。"
    rows = cues([[Timed(0, 9, text)]])
    assert "".join(line for row in rows for line in row.lines) == text
    assert all(len(line) <= COLUMNS // 2 for row in rows for line in row.lines)
    assert not any(line[0] in "，。" for row in rows for line in row.lines)
    assert len(rows) > 1


def test_a_phrase_without_word_times_is_shared_out_by_length():
    rows = cues([[Timed(0, 10, "aaaa bbbb " * 12)]])
    assert len(rows) > 1
    assert rows[-1].end == pytest.approx(10_000, abs=1)


def test_markup_is_no_markup_any_more():
    row = cues([[Timed(0, 2, "<b>a</b> & b --> c")]])
    assert "&lt;b&gt;a&lt;/b&gt; &amp; b --&gt; c" in vtt(row)
    assert "-->" not in srt(row).splitlines()[2]
    assert lrc(cues([[Timed(3661.239, 3662, "[00:12.00] la")]])) == "[61:01.23](00:12.00) la\n[61:02.23]\n"
