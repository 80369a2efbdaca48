"""Bytes as they come become samples, whatever pieces they come in."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.speech.live.pcm import PcmStream


def tone(rate, seconds=1.0):
    return (np.sin(2 * np.pi * 440 * np.arange(int(rate * seconds)) / rate) * 20_000).astype("<i2").tobytes()


def pieces(data, sizes):
    while data:
        size = sizes.pop(0) if sizes else len(data)
        yield data[:size]
        data = data[size:]


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 24_000, 44_100, 48_000])
@settings(max_examples=20, deadline=None)
@given(sizes=st.lists(st.integers(0, 5_000), max_size=30))
def test_the_pieces_do_not_matter(rate, sizes):
    stream = PcmStream(rate)
    heard = np.concatenate([stream.feed(piece) for piece in pieces(tone(rate), sizes)])
    assert heard.dtype == np.float32
    assert stream.seconds == pytest.approx(1.0)
    assert abs(len(heard) - 16_000) < 100  # the resampler keeps a little
    expected = np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000) * 20_000 / 32_768
    inner = slice(200, len(heard) - 200)
    assert np.abs(heard[inner] - expected[inner]).max() < 1e-3


def test_the_loudest_samples_stay_in_bounds():
    for rate in (16_000, 24_000):
        stream = PcmStream(rate)
        square = np.where(np.arange(rate) // 50 % 2, 32_767, -32_768).astype("<i2").tobytes()
        assert np.abs(stream.feed(square)).max() <= 1.0
