"""Pictures of recordings: what is drawn of what the gateway says."""

from itertools import pairwise

import numpy as np
import pytest

from fleet.cli.draw import COLUMNS, LETTER_SECONDS, SECONDS_A_ROW, WordLabel, draw, placed, talk
from fleet.errors import FleetError
from servekit.media.audio_encoder import encode_audio

WORDS = [{"word": "Hello", "start": 0.2, "end": 0.6}, {"word": "there", "start": 16.0, "end": 16.4}]
TURNS = [{"start": 0.1, "end": 1.0, "speaker": "Jane"}, {"start": 14.5, "end": 17.0, "speaker": "B"}]


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / "talk.wav"
    path.write_bytes(encode_audio(0.3 * np.sin(np.arange(18 * 8000, dtype=np.float32) / 10), "audio/wav", 8000))
    return path


def test_words_speakers_and_rows_are_drawn(recording, tmp_path):
    drawn = talk(recording, {"words": WORDS}, {"duration": 18.0, "turns": TURNS})
    assert drawn.peaks.max() == 1
    assert len(drawn.peaks) * SECONDS_A_ROW / COLUMNS == pytest.approx(18, abs=0.1)
    draw(drawn, tmp_path / "a.svg")
    picture = (tmp_path / "a.svg").read_text()
    for text in ("Hello", "there", "Jane", "B", "talk.wav, 18.0 s"):
        assert f">{text}<" in picture
    assert picture.count("axes_") >= 2
    draw(drawn, tmp_path / "b.svg")
    assert (tmp_path / "b.svg").read_text() == picture


def test_silence_is_a_picture_as_well(recording, tmp_path):
    draw(talk(recording, {}, {"duration": 18.0, "turns": []}), tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 1000


def test_what_cannot_be_drawn_is_said(recording, tmp_path):
    with pytest.raises(FleetError, match="at most 600"):
        talk(recording, {}, {"duration": 7200.0, "turns": []})
    drawn = talk(recording, {}, {"duration": 18.0, "turns": []})
    with pytest.raises(FleetError, match="cannot be written"):
        draw(drawn, tmp_path / "a.nonesuch")
    (tmp_path / "text.wav").write_text("no sound")
    with pytest.raises(FleetError, match="cannot be read"):
        talk(tmp_path / "text.wav", {}, {"duration": 1.0, "turns": []})


def test_words_stay_on_the_first_line_but_where_they_would_overlap_and_none_runs_over_the_edge():
    said = [(0.0, "one"), (0.5, "two"), (0.6, "extraordinarily"), (0.9, "three"), (2.6, "four"), (9.9, "unforgettable")]
    found = placed([WordLabel(start, start + 0.1, text) for start, text in said], 10.0)
    assert [line for _, _, line in found] == [0, 0, 0, 1, 0, 0]
    for line in (0, 1):
        row = [(at, at + LETTER_SECONDS * (len(word.text) + 1)) for word, at, on in found if on == line]
        assert all(end <= start for (_, end), (start, _) in pairwise(row))
        assert row[-1][1] <= 10.0
    assert all(0 <= at - word.start <= 0.35 for word, at, _ in found[:-1])
