"""Telephone audio: ITU-T G.711, one byte per sample, decoded to 16-bit PCM."""

from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

RATE = 8000  # hertz, of both laws

Law = Literal["mu", "a"]


def to_pcm(data: bytes, law: Law) -> bytes:
    """16-bit little-endian samples, one for each byte."""
    return _table(law)[np.frombuffer(data, np.uint8)].tobytes()


@cache
def _table(law: Law) -> NDArray[np.int16]:
    """The sample of every byte: a sign, an exponent of three bits and a mantissa of four."""
    code = np.arange(256) ^ (0xFF if law == "mu" else 0x55)
    exponent, mantissa = code >> 4 & 7, code & 15
    if law == "mu":
        size = ((mantissa << 3) + 132 << exponent) - 132
        return np.where(code & 128, -size, size).astype("<i2")
    size = np.where(exponent > 0, (mantissa << 4) + 264 << np.maximum(exponent, 1) - 1, (mantissa << 4) + 8)
    return np.where(code & 128, size, -size).astype("<i2")
