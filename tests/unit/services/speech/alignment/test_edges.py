import numpy as np
import pytest

from services.speech.alignment.edges import LEAD_SECONDS, pauses, sharpen
from services.speech.ports.aligner import Place

RATE = 16_000


def sound(*stretches, noise=0.0):
    """Tones of some seconds each, silence where the seconds are negative."""
    moments = [np.full(int(abs(seconds) * RATE), seconds > 0, np.float32) for seconds in stretches]
    loud = np.concatenate(moments)
    tone = 0.3 * np.sin(np.arange(len(loud)) * 0.3) * loud
    return (tone + noise * np.random.default_rng(0).normal(size=len(loud))).astype(np.float32)


@pytest.mark.parametrize("noise", [0.0, 0.003])
def test_pauses_are_where_it_is_quiet(noise):
    found = pauses(sound(-0.5, 1.0, -0.3, 1.0, -0.05, 1.0, noise=noise))
    assert found == [pytest.approx((0.0, 0.5), abs=0.02), pytest.approx((1.5, 1.8), abs=0.02)]
    assert pauses(np.zeros(10, np.float32)) == []


def test_edges_near_a_pause_lie_at_its_ends_and_the_others_a_little_later():
    samples = sound(-0.3, 2.0, -0.5, 1.0)
    told = [Place(0.1, 1.0, 0.9), Place(1.0, 2.2, 0.8), None, Place(2.2, 3.7, 0.7)]
    first, second, gone, third = sharpen(told, samples)
    assert (first.start, first.end) == pytest.approx((0.3, 1.0 + LEAD_SECONDS), abs=0.02)
    assert (second.start, second.end) == pytest.approx((1.0 + LEAD_SECONDS, 2.3), abs=0.02)
    assert (third.start, third.end) == pytest.approx((2.8, 3.78), abs=0.02)
    assert gone is None
    assert [place.confidence for place in (first, second, third)] == [0.9, 0.8, 0.7]


def test_a_pause_far_from_any_edge_changes_nothing():
    samples = sound(2.0, -0.3, 2.0)
    (place,) = sharpen([Place(0.0, 4.0, 0.9)], samples)
    assert (place.start, place.end) == pytest.approx((0.0, 4.0 + LEAD_SECONDS))
    assert sharpen([], samples) == []
    assert sharpen([None], samples) == [None]
