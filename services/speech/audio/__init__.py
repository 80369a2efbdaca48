"""Recordings, decoded chunk by chunk."""

SAMPLE_RATE = 16_000  # hertz, of the audio that models of speech take
