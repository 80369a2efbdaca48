"""Pictures of recordings: what is drawn of what the gateway says."""

import wave

import numpy as np
import pytest

from fleet.draw import SECONDS_A_ROW, draw, talk
from fleet.errors import FleetError

WORDS = [{"word": "Hello", "start": 0.2, "end": 0.6}, {"word": "there", "start": 16.0, "end": 16.4}]
TURNS = [{"start": 0.1, "end": 1.0, "speaker": "Jane"}, {"start": 14.5, "end": 17.0, "speaker": "B"}]


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / "talk.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes((np.sin(np.arange(18 * 8000) / 10) * 9000).astype("<i2").tobytes())
    return path


def test_words_speakers_and_rows_are_drawn(recording, tmp_path):
    drawn = talk(recording, {"words": WORDS}, {"duration": 18.0, "turns": TURNS})
    assert drawn.peaks.max() == 1
    assert len(drawn.peaks) * SECONDS_A_ROW / 1400 == pytest.approx(18, abs=0.1)
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
