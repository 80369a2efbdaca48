"""Recordings of people from installed packages; they are not redistributed."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from evaluation import canary_set
from evaluation.speech_set import sound
from evaluation.speech_set.manifest import Condition, SpeakerTurn
from evaluation.speech_set.packages import PackageMissing, member

POCKETSPHINX = Path("/usr/share/pocketsphinx/test/data")
ALSA = Path("/usr/share/sounds/alsa")
PYANNOTE = "pyannote-audio==4.0.7"
SAMPLE = "pyannote/audio/sample/sample"
_LINE = re.compile(r"<s> (.*?)\s*</s> \((.*)\)")


@dataclass(frozen=True)
class SourceRecording:
    """A recording with its published transcript."""

    id: str
    samples: sound.Samples
    text: str
    voices: tuple[str, ...]
    origin: str
    licence: str
    turns: tuple[SpeakerTurn, ...] = ()


Source = tuple[Condition, Callable[[], Iterator[SourceRecording]]]


def known(cache: Path) -> tuple[Source, ...]:
    """All sources of recordings with their conditions; `cache` is the folder of downloads."""
    return (
        ("people", novel),
        ("short", words_said_apart),
        ("short", two_words),
        ("conversation", lambda: telephone(cache)),
    )


def novel() -> Iterator[SourceRecording]:
    """A novel read aloud: the canary's sentences and one more of Debian's."""
    origin, licence, voices = "LibriVox, Sense and Sensibility, chapter 1", "public domain", ("librivox",)
    for item in canary_set.read().transcribe:
        if item.file.startswith("austen"):
            samples = sound.decode(canary_set.FOLDER / item.file)
            yield SourceRecording(Path(item.file).stem, samples, item.text, voices, origin, licence)


def words_said_apart() -> Iterator[SourceRecording]:
    """A man who names playing cards, in a room.

    Raises:
        PackageMissing: The package is not installed.
    """
    folder = POCKETSPHINX / "cards"
    try:
        lines = _LINE.findall((folder / "cards.transcription").read_text())
        for text, name in lines:
            samples = sound.decode(folder / f"{name}.wav")
            yield SourceRecording(
                f"cards-{name}", samples, text, ("cmu-cards",), "pocketsphinx's test data, cards", "BSD-2"
            )
    except OSError as error:
        raise PackageMissing("people naming cards: apt-get install pocketsphinx-testdata") from error


def two_words() -> Iterator[SourceRecording]:
    """A woman who names loudspeakers, a second or two each.

    Raises:
        PackageMissing: The package is not installed.
    """
    files = sorted(ALSA.glob("*_*.wav"))
    if not files:
        raise PackageMissing("a woman naming loudspeakers: apt-get install alsa-utils")
    for file in files:
        name = file.stem.lower().replace("_", "-")
        text = file.stem.replace("_", " ").lower()
        yield SourceRecording(
            f"alsa-{name}", sound.decode(file), text, ("alsa",), "alsa-utils, /usr/share/sounds", "GPL-2"
        )


def telephone(cache: Path) -> Iterator[SourceRecording]:
    """Two women on the telephone, half a minute, with their turns marked by hand.

    Raises:
        PackageMissing: The package cannot be downloaded.
    """
    samples = sound.decode(member(PYANNOTE, f"{SAMPLE}.wav", cache))
    marked = member(PYANNOTE, f"{SAMPLE}.rttm", cache).read_text().splitlines()
    said = [line.split(maxsplit=5)[5] for line in member(PYANNOTE, f"{SAMPLE}.stm", cache).read_text().splitlines()]
    turns = []
    for line in marked:
        _, _, _, start, length, _, _, speaker, *_ = line.split()
        turns.append(
            SpeakerTurn(speaker=speaker, start=float(start), end=round(float(start) + float(length), 3), text="")
        )
    text, voices = " ".join(said), ("speaker90", "speaker91")
    yield SourceRecording("telephone", samples, text, voices, f"{PYANNOTE}, its sample", "MIT package", tuple(turns))
