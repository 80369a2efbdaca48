"""Whose words are whose."""

import pytest
from polyphony.speech.v1.diarization_pb2 import SpeakerTurn
from polyphony.type.v1.time_span_pb2 import TimeSpan

from gateway.pipelines.diarized_transcript import _Speakers


def turn(start, end, speaker):
    return SpeakerTurn(time=TimeSpan(start_seconds=start, end_seconds=end), speaker=speaker)


@pytest.mark.parametrize(
    ("turns", "start", "end", "speaker"),
    [
        ([(0, 10, "A"), (10, 20, "B")], 9.7, 10.1, "A"),  # that it lies in most
        ([(5, 6, "B"), (9, 10, "C")], 1, 2, "B"),  # nobody's: the nearest, before, between and after
        ([(5, 6, "B"), (9, 10, "C")], 6.5, 7, "B"),
        ([(5, 6, "B"), (9, 10, "C")], 8, 8.5, "C"),
        ([(5, 6, "B"), (9, 10, "C")], 50, 51, "C"),
        ([(0, 10, "A"), (2, 3, "B"), (20, 22, "C")], 12, 13, "A"),  # the nearest began before another that is over
    ],
)
def test_a_word_is_of_the_nearest_turn(turns, start, end, speaker):
    assert _Speakers([turn(*row) for row in turns]).of(start, end) == speaker
    asked_on = _Speakers([turn(*row) for row in turns])
    assert [asked_on.of(start - 0.2, start), asked_on.of(start, end)][1] == speaker
