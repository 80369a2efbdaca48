"""Synthetic machine sounds, for the evaluation of anomaly detectors without recordings of machines.

A machine is an instance of a kind (motor, fan, pump), whose number determines its speed, resonances and spectrum. A
clip is normal, or a fault is mixed in: knocking, an alarm, the whine of a bearing. Each clip has its own modulation and
its own background noise at a given ratio. No two clips are the same; the same arguments give the same clip.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from servekit.media.audio_encoder import encode_audio

RATE = 16_000
KINDS = ("motor", "fan", "pump")
FAULTS = ("knocking", "alarm", "whine")
CONDITIONS = ("normal", *FAULTS)

Samples = NDArray[np.float64]


def machine(
    kind: str, instance: int, condition: str, clip: int, *, seconds: float = 4.0, snr_db: float = 10.0
) -> Samples:
    """Generate one clip, float64 `[samples]` in [-1, 1] at `RATE`.

    Args:
        kind: One of `KINDS`.
        instance: The number of the machine of that kind.
        condition: One of `CONDITIONS`.
        clip: The number of the clip of that machine and condition.
        seconds: The duration in seconds.
        snr_db: The ratio of the machine to the background noise, in dB.
    """
    own = np.random.default_rng([KINDS.index(kind), instance])
    now = np.random.default_rng([KINDS.index(kind), instance, CONDITIONS.index(condition), clip])
    at = np.arange(int(seconds * RATE)) / RATE
    sound = _to_level(_MACHINES[kind](at, own, now))
    if condition in FAULTS:
        sound += _to_level(_FAULTS[condition](at, now)) * 10 ** (now.uniform(-15, -3) / 20)
    hall = _to_level(_coloured(len(at), now, tilt=1.0) + 0.3 * _coloured(len(at), now, tilt=0.0))
    sound += hall * 10 ** (-snr_db / 20)
    return np.clip(0.05 * sound * 10 ** (now.uniform(-2, 2) / 20), -1, 1)


def wav(samples: Samples) -> bytes:
    """The clip as a WAV file."""
    return encode_audio(samples.astype(np.float32), "audio/wav", RATE)


def _to_level(sound: Samples) -> Samples:
    return np.asarray(sound / (np.sqrt(np.mean(sound**2)) + 1e-12))


def _coloured(samples: int, random: np.random.Generator, tilt: float) -> Samples:
    """Noise whose power falls with frequency to the power of `tilt`."""
    spectrum = np.fft.rfft(random.standard_normal(samples))
    hertz = np.maximum(np.fft.rfftfreq(samples, 1 / RATE), 20)
    return _to_level(np.fft.irfft(spectrum * hertz ** (-tilt / 2), samples))


def _resonant(sound: Samples, peaks: list[tuple[float, float, float]]) -> Samples:
    """Filter by resonances of a casing: (hertz, width in hertz, gain) of each."""
    spectrum = np.fft.rfft(sound)
    hertz = np.fft.rfftfreq(len(sound), 1 / RATE)
    shape = 0.05 + sum(gain / (1 + ((hertz - centre) / width) ** 2) for centre, width, gain in peaks)
    return np.fft.irfft(spectrum * shape, len(sound))


def _casing(own: np.random.Generator, least: float, most: float) -> list[tuple[float, float, float]]:
    return [(own.uniform(least, most), own.uniform(60, 300), own.uniform(0.4, 1.0)) for _ in range(4)]


def _wobble(at: Samples, now: np.random.Generator, share: float) -> Samples:
    """A slow modulation around 1."""
    waves = [np.sin(2 * np.pi * now.uniform(0.1, 0.8) * at + now.uniform(0, 6)) for _ in range(3)]
    return np.asarray(1 + share * np.mean(waves, axis=0))


def _motor(at: Samples, own: np.random.Generator, now: np.random.Generator) -> Samples:
    """Harmonics of the rotation, and mains hum."""
    turning, casing = own.uniform(24, 30), _casing(own, 150, 2_500)
    weights = own.uniform(0.2, 1.0, 40) / np.arange(1, 41) ** 0.7
    phase = 2 * np.pi * np.cumsum(turning * _wobble(at, now, 0.01)) / RATE
    harmonics = sum(weight * np.sin(k * phase + now.uniform(0, 6)) for k, weight in enumerate(weights, 1))
    hum = 0.5 * np.sin(2 * np.pi * 100 * at + now.uniform(0, 6))
    return _resonant(harmonics + hum + 0.5 * _coloured(len(at), now, 1.0), casing)


def _fan(at: Samples, own: np.random.Generator, now: np.random.Generator) -> Samples:
    """Broadband noise, modulated by the passing blades."""
    blades, casing = own.uniform(80, 140), _casing(own, 200, 4_000)
    tilt, depth = own.uniform(0.6, 1.2), own.uniform(0.1, 0.4)
    passing = np.sin(2 * np.pi * np.cumsum(blades * _wobble(at, now, 0.01)) / RATE)
    return _resonant(_coloured(len(at), now, tilt) * (1 + depth * passing) + 0.4 * passing, casing)


def _pump(at: Samples, own: np.random.Generator, now: np.random.Generator) -> Samples:
    """Noise pulses, a few each second, over a motor."""
    strokes, casing = own.uniform(2, 4), _casing(own, 300, 3_000)
    phase = np.cumsum(strokes * _wobble(at, now, 0.02)) / RATE + now.uniform()
    pulses = np.exp(-((phase % 1 - 0.3) ** 2) / (2 * own.uniform(0.08, 0.14) ** 2))
    return _resonant(_coloured(len(at), now, 0.8) * (0.15 + pulses), casing) + 0.4 * _to_level(_motor(at, own, now))


def _knocking(at: Samples, now: np.random.Generator) -> Samples:
    """Ringing impacts, several each second, with jitter."""
    ringing, decay = now.uniform(700, 2_600), now.uniform(0.004, 0.012)
    gap = 1 / now.uniform(3, 9)
    blow = np.exp(-at[: RATE // 10] / decay) * np.sin(2 * np.pi * ringing * at[: RATE // 10])
    sound = np.zeros(len(at))
    moment = now.uniform(0, gap)
    while (start := int(moment * RATE)) < len(at):
        length = min(len(blow), len(at) - start)
        sound[start : start + length] += now.uniform(0.6, 1.0) * blow[:length]
        moment += gap * now.uniform(0.85, 1.15)
    return sound


def _alarm(at: Samples, now: np.random.Generator) -> Samples:
    """Two alternating tones, or one with modulated amplitude."""
    low, period = now.uniform(1_000, 2_400), now.uniform(0.3, 0.8)
    first = (at + now.uniform(0, period)) % period < period / 2
    second = now.choice([0.0, 1.0])
    tones = np.where(first, np.sin(2 * np.pi * low * at), second * np.sin(2 * np.pi * low * 1.25 * at))
    return tones + 0.3 * np.sign(tones) * np.abs(tones) ** 0.5


def _whine(at: Samples, now: np.random.Generator) -> Samples:
    """A high tone with sidebands of the rotation, like a dry bearing."""
    tone, turning = now.uniform(3_000, 6_500), now.uniform(20, 40)
    phase = 2 * np.pi * np.cumsum(tone * _wobble(at, now, 0.004)) / RATE
    return np.sin(phase) * (1 + 0.6 * np.sin(2 * np.pi * turning * at)) + 0.3 * np.sin(1.5 * phase)


_MACHINES: dict[str, Callable[[Samples, np.random.Generator, np.random.Generator], Samples]] = {
    "motor": _motor,
    "fan": _fan,
    "pump": _pump,
}
_FAULTS: dict[str, Callable[[Samples, np.random.Generator], Samples]] = {
    "knocking": _knocking,
    "alarm": _alarm,
    "whine": _whine,
}
