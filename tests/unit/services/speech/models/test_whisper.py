"""What Whisper's adapter does by itself: windows packed from speech, one encoding saved, a stop at every step."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servekit.call import Flag
from servekit.errors import Cancelled
from services.speech.models.whisper import _Attentive, pack


def spans(*lengths):
    """Spans of these lengths with a gap of one between them."""
    start, made = 0, []
    for length in lengths:
        made.append({"start": start, "end": start + length})
        start += length + 1
    return made


def test_windows_are_filled_in_order():
    first, second, third, fourth = spans(10, 15, 10, 40)
    assert list(pack([first, second, third, fourth], 30)) == [[first, second], [third], [fourth]]
    assert list(pack([], 30)) == []


@given(st.lists(st.integers(1, 30)))
def test_every_span_is_in_one_window_of_bounded_length(lengths):
    windows = list(pack(spans(*lengths), 30))
    assert [span for window in windows for span in window] == spans(*lengths)
    assert all(sum(span["end"] - span["start"] for span in window) <= 30 for window in windows)


class Engine:
    device = "cpu"

    def __init__(self):
        self.encoded = 0

    def encode(self, features, to_cpu=False):
        self.encoded += 1
        return self.encoded


def test_the_window_of_the_detected_language_is_encoded_once():
    engine = Engine()
    attentive = _Attentive(engine, Flag(), detects=True)
    assert [attentive.encode("a"), attentive.encode("a"), attentive.encode("b")] == [1, 1, 2]
    stated = _Attentive(engine, Flag(), detects=False)
    assert [stated.encode("a"), stated.encode("b")] == [3, 4]


def test_no_step_begins_when_nobody_listens():
    flag = Flag()
    attentive = _Attentive(Engine(), flag, detects=False)
    assert attentive.device == "cpu"
    flag.set()
    with pytest.raises(Cancelled):
        attentive.encode("a")
    with pytest.raises(Cancelled):
        _ = attentive.device
