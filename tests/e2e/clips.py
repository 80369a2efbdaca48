"""The canary's recordings as material for tests of speech: alone, or one after another with known joins."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from evaluation import canary_set
from evaluation.metrics import word_error_rate, words
from evaluation.speech_set import sound

# What each says. `austen-*` is a man who reads, all others are a synthetic woman.
TEXTS = {Path(item.file).stem: item.text for item in canary_set.read().transcribe}
GAP_SECONDS = 0.7


def clip(name: str) -> sound.Samples:
    """One recording at the level of all, (samples,) float32 at `sound.RATE`."""
    return sound.levelled(sound.decode(canary_set.FOLDER / f"{name}.opus"))


@dataclass(frozen=True)
class Talk:
    """Recordings one after another.

    Attributes:
        samples: (n,) float32 at `sound.RATE`.
        text: What is said, a line for each recording.
        spans: From when to when each is spoken, in seconds.
    """

    samples: sound.Samples
    text: str
    spans: list[tuple[float, float]]

    @classmethod
    def of(cls, *names: str) -> Self:
        """Those recordings, with a gap after each."""
        pieces: list[sound.Samples] = []
        spans = []
        at = 0
        for name in names:
            samples = clip(name)
            start, end = sound.speech_bounds(samples)
            spans.append(((at + start) / sound.RATE, (at + end) / sound.RATE))
            pieces += [samples, sound.silence(GAP_SECONDS)]
            at += len(samples) + len(pieces[-1])
        return cls(np.concatenate(pieces), "\n".join(TEXTS[name] for name in names), spans)

    def speaker(self, turns: Sequence[tuple[float, float, str]], number: int) -> str:
        """Who speaks most of a recording, by turns of (start, end, speaker); nobody, if it is less than 8 tenths."""
        start, end = self.spans[number]
        shares: dict[str, float] = {}
        for begin, stop, speaker in turns:
            shares[speaker] = shares.get(speaker, 0) + max(0.0, min(end, stop) - max(start, begin))
        most = max(shares, key=lambda speaker: shares[speaker])
        return most if shares[most] > 0.8 * (end - start) else ""


def wrong(said: str, heard: str) -> float:
    """The word error rate of one text."""
    return word_error_rate([said], [heard])


def recalled(said: str, heard: str) -> float:
    """The share of the words of one text that occur in another."""
    found = set(words(heard))
    return sum(word in found for word in words(said)) / len(words(said))


def si_sdr(clean: sound.Samples, other: sound.Samples) -> float:
    """The ratio of a clean sound to what else is in another, in dB, whatever the level (Le Roux et al., 2019)."""
    length = min(len(clean), len(other))
    clean, other = clean[:length], other[:length]
    target = clean * (other @ clean / (clean @ clean))
    return float(10 * np.log10(np.sum(target**2) / np.sum((other - target) ** 2)))
