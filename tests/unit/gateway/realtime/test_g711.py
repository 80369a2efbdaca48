"""Telephone sound."""

import av
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gateway.realtime.g711 import to_pcm


@given(st.binary(max_size=300), st.sampled_from(["mu", "a"]))
def test_g711_decodes_as_ffmpeg_does(data, law):
    codec = av.CodecContext.create({"mu": "pcm_mulaw", "a": "pcm_alaw"}[law], "r")
    codec.sample_rate, codec.layout = 8000, "mono"
    frames = codec.decode(av.Packet(data)) if data else []
    expected = np.concatenate([np.zeros(0, np.int16), *(frame.to_ndarray().reshape(-1) for frame in frames)])
    assert to_pcm(data, law) == expected.astype("<i2").tobytes()
