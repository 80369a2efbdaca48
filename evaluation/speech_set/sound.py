"""Samples: (n,) float32 in -1 to 1, mono, 16 kHz. Read, level, cut, mixed, made."""

import io
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from servekit.media.audio_encoder import encode_audio

RATE = 16_000
FRAME = RATE // 50
SPEECH_POWER = 0.01  # the power of every voice: -20 dB of full scale
QUIET = 1e-4  # a frame is speech from this share of the loudest frame's power: -40 dB

Samples = NDArray[np.float32]


def decode(file: Path | bytes) -> Samples:
    """Decode an audio file."""
    with av.open(io.BytesIO(file) if isinstance(file, bytes) else file, "r") as container:
        resampler = av.AudioResampler("flt", "mono", RATE)
        frames = [out for frame in container.decode(audio=0) for out in resampler.resample(frame)]
        frames += resampler.resample(None)
    return np.concatenate([frame.to_ndarray()[0] for frame in frames]).astype(np.float32)


def write(path: Path, samples: Samples) -> None:
    """Write a 16-bit FLAC file."""
    path.write_bytes(encode_audio(samples, "audio/flac", RATE))


def silence(seconds: float) -> Samples:
    """Silence."""
    return np.zeros(round(seconds * RATE), np.float32)


def speech_frames(samples: Samples) -> NDArray[np.bool_]:
    """Frames of 20 ms that are speech, by their power relative to the loudest."""
    power = _powers(samples)
    loud: NDArray[np.bool_] = power > QUIET * power.max()
    return loud


def speech_power(samples: Samples) -> float:
    """The mean power of the frames that are speech."""
    return float(np.mean(_powers(samples)[speech_frames(samples)]))


def _powers(samples: Samples) -> Samples:
    frames = samples[: len(samples) // FRAME * FRAME].reshape(-1, FRAME)
    powers: Samples = np.mean(np.square(frames), axis=1, dtype=np.float32)
    return powers


def levelled(samples: Samples) -> Samples:
    """Scale to `SPEECH_POWER`, or less where it would clip."""
    gain = np.sqrt(SPEECH_POWER / speech_power(samples))
    return samples * np.float32(min(gain, 0.99 / np.abs(samples).max()))


def speech_bounds(samples: Samples) -> tuple[int, int]:
    """The first and last sample of speech."""
    (frames,) = np.nonzero(speech_frames(samples))
    return int(frames[0]) * FRAME, int(frames[-1] + 1) * FRAME


def noisy(samples: Samples, noise: Samples, snr_db: float) -> Samples:
    """Speech with noise at a ratio of powers, the speech's over its speech frames; both quieter where it would clip."""
    noise = np.resize(noise, len(samples))
    gain = np.sqrt(speech_power(samples) / np.mean(np.square(noise)) / 10 ** (snr_db / 10))
    mixed = samples + np.float32(gain) * noise
    return mixed * np.float32(min(1.0, 0.99 / np.abs(mixed).max()))


def white(seconds: float, random: np.random.Generator) -> Samples:
    """White noise."""
    return random.normal(0, 0.1, round(seconds * RATE)).astype(np.float32)


def hum(seconds: float, random: np.random.Generator) -> Samples:
    """Mains hum: 50 Hz and nine decaying harmonics, with a little noise."""
    t = np.arange(round(seconds * RATE)) / RATE
    phases = random.uniform(0, 2 * np.pi, 10)
    waves = [np.sin(2 * np.pi * 50 * k * t + phase) / k for k, phase in enumerate(phases, 1)]
    mains: Samples = np.sum(waves, axis=0, dtype=np.float32)
    return np.float32(0.1) * mains + np.float32(0.02) * white(seconds, random)


def babble(voices: list[Samples], seconds: float, random: np.random.Generator) -> Samples:
    """Babble: several voices at once, each from a random offset."""
    count = round(seconds * RATE)
    shifted = [np.roll(voice, int(random.integers(len(voice)))) for voice in voices]
    crowd: Samples = np.sum([np.resize(voice, count) for voice in shifted], axis=0, dtype=np.float32)
    return crowd


def tune(seconds: float, random: np.random.Generator) -> Samples:
    """Synthetic music: plucked chords, four to the bar."""
    samples = silence(seconds)
    t = np.arange(RATE * 2) / RATE
    chords = ((262, 330, 392), (220, 262, 330), (175, 220, 262), (196, 247, 294))
    for number, start in enumerate(range(0, len(samples) - len(t), RATE // 2)):
        root = random.choice(chords[number // 4 % 4])
        for pitch in (root, *chords[number // 4 % 4]):
            samples[start : start + len(t)] += (0.08 * np.exp(-2.5 * t) * np.sin(2 * np.pi * pitch * t)).astype("f4")
    return samples


def clicks(seconds: float, random: np.random.Generator) -> Samples:
    """Random clicks."""
    samples = silence(seconds)
    t = np.arange(RATE // 20) / RATE
    knock = (0.6 * np.exp(-120 * t) * np.sin(2 * np.pi * 900 * t)).astype(np.float32)
    for start in random.integers(0, len(samples) - len(knock), round(2 * seconds)):
        samples[start : start + len(knock)] += knock
    return samples.clip(-1, 1)
