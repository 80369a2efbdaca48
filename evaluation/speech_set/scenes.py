"""The clips of the set: voices, texts, noise, sequences and overlaps."""

import tomllib
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np

from evaluation.speech_set import sound
from evaluation.speech_set.manifest import Condition, EvaluationClip, Noise, SpeakerTurn, TimedWord
from evaluation.speech_set.packages import PackageMissing
from evaluation.speech_set.recordings import Source, SourceRecording
from evaluation.speech_set.voices import VoiceSet

ENGLISH = ("hibari", "joe", "slt", "rms", "awb")
JAPANESE = ("jf-alpha", "jf-gongitsune", "jf-nezumi", "jf-tebukuro", "jm-kumo")
SNRS = (20, 10, 5, 0)
NOISES = tuple(noise for noise in get_args(Noise) if noise)
NOISY = ("hibari-prose", "slt-technical", "rms-names", "austen-1")  # clips that are repeated with every noise
BABBLERS = (("joe", "long"), ("awb", "long"), ("slt", "long"), ("rms", "prose"), ("hibari", "long"))
CROWD = 2  # the fewest voices of babble noise
EDGE = 0.3  # seconds of silence at both ends of composed clips

Made = tuple[EvaluationClip, sound.Samples]


class Scenes:
    """Builds the clips in a fixed order. Clips whose sources are missing are skipped and noted.

    Args:
        voices: The voices.
        people: The recordings of people.
    """

    def __init__(self, voices: VoiceSet, people: Sequence[Source]) -> None:
        self._voices, self._people = voices, people
        self._texts = tomllib.loads(Path(__file__).with_name("texts.toml").read_text())
        self._lacks: list[str] = []

    @property
    def missing(self) -> list[str]:
        """The skipped clips, and the packages to install."""
        return [*self._lacks, *self._voices.missing]

    def clips(self) -> Iterator[Made]:
        """Every clip with its samples."""
        clean = {}
        for clip, samples in self._clean():
            clean[clip.id] = clip, samples
            yield clip, samples
        yield from self._noisy(clean)
        yield from self._pauses()
        yield from self._dialogues()
        yield from self._japanese()
        yield from self._others()
        yield from self._nobody()

    def _clean(self) -> Iterator[Made]:
        for voice in ENGLISH:
            for name, text in self._texts["english"].items():
                yield from self._monologue(f"{voice}-{name}", voice, text, "en", "clean")
        for condition, recordings in self._people:
            yield from self._recorded(condition, recordings)

    def _monologue(self, name: str, voice: str, text: str, language: str, condition: Condition) -> Iterator[Made]:
        yield from self._scene(name, [(voice, text)], language, condition, (EDGE,))

    def _recorded(self, condition: Condition, recordings: Callable[[], Iterator[SourceRecording]]) -> Iterator[Made]:
        try:
            for one in recordings():
                samples = sound.levelled(one.samples)
                clip = EvaluationClip(
                    id=one.id,
                    text=one.text,
                    language="en",
                    voices=one.voices,
                    condition=condition,
                    seconds=round(len(samples) / sound.RATE, 3),
                    turns=one.turns or (_turn(one.voices[0], samples, 0, one.text),),
                    origin=one.origin,
                    licence=one.licence,
                )
                yield clip, samples
        except PackageMissing as error:
            self._lacks.append(str(error))

    def _scene(
        self,
        name: str,
        said: Sequence[tuple[str, str]],
        language: str,
        condition: Condition,
        gaps: Sequence[float],
    ) -> Iterator[Made]:
        """Turns in sequence, each after its gap in seconds (gaps repeat); a negative gap is an overlap."""
        pieces: list[tuple[int, sound.Samples]] = []
        turns: list[SpeakerTurn] = []
        words: list[TimedWord] = []
        at = 0
        try:
            for number, (voice, text) in enumerate(said):
                samples, told = self._voices.say(voice, text)
                start, end = sound.speech_bounds(samples)
                at = max(0, at + round((EDGE if not number else gaps[(number - 1) % len(gaps)]) * sound.RATE))
                samples = samples[start:end]
                pieces.append((at, samples))
                turns.append(_turn(voice, samples, at, text))
                shift = (at - start) / sound.RATE
                words += [_later(word, shift) for word in told]
                at += len(samples)
        except PackageMissing:
            return
        mixed = sound.silence((max(begin + len(piece) for begin, piece in pieces) / sound.RATE) + EDGE)
        for begin, piece in pieces:
            mixed[begin : begin + len(piece)] += piece
        text = " ".join(text for _, text in said)
        speakers = tuple(dict.fromkeys(voice for voice, _ in said))
        clip = EvaluationClip(
            id=name,
            text=text,
            language=language,
            voices=speakers,
            condition=condition,
            seconds=round(len(mixed) / sound.RATE, 3),
            turns=tuple(turns),
            words=tuple(words) if len(words) == len(text.split()) else (),
            origin="; ".join(self._voices[voice].origin for voice in speakers),
            licence="; ".join(dict.fromkeys(self._voices[voice].licence for voice in speakers)),
        )
        yield clip, mixed.clip(-0.99, 0.99)

    def _noisy(self, clean: Mapping[str, Made]) -> Iterator[Made]:
        for clip, samples in (clean[name] for name in NOISY if name in clean):
            for noise in NOISES:
                for snr in SNRS:
                    yield from self._under(clip, samples, noise, snr, "noisy")

    def _under(
        self, clip: EvaluationClip, samples: sound.Samples, noise: Noise, snr: float, condition: Condition
    ) -> Iterator[Made]:
        name = f"{clip.id}-{noise}-{snr}"
        try:
            over = self._noise(noise, clip.seconds, name, clip.voices)
        except PackageMissing as error:
            if (lack := f"{clip.id} under {noise}: {error}") not in self._lacks:
                self._lacks.append(lack)
            return
        about = {"id": name, "condition": condition, "noise": noise, "snr_db": float(snr), "clean": clip.id}
        yield clip.model_copy(update=about), sound.noisy(samples, over, snr)

    def _noise(self, noise: Noise, seconds: float, name: str, but: Sequence[str]) -> sound.Samples:
        random = _random(name)
        if noise == "white":
            return sound.white(seconds, random)
        if noise == "hum":
            return sound.hum(seconds, random)
        crowd = list(self._babblers(but))
        if len(crowd) < CROWD:
            raise PackageMissing(f"{CROWD} more voices that speak English are needed, there are {len(crowd)}")
        return sound.babble(crowd, seconds, random)

    def _babblers(self, but: Sequence[str]) -> Iterator[sound.Samples]:
        """The voices of babble noise, without the speaker."""
        for voice, text in BABBLERS:
            if voice not in but:
                try:
                    samples, _ = self._voices.say(voice, self._texts["english"][text])
                except PackageMissing:
                    continue
                start, end = sound.speech_bounds(samples)
                yield samples[start:end]

    def _pauses(self) -> Iterator[Made]:
        texts = self._texts["english"]
        for voice, gaps in (("hibari", (4.0, 9.0)), ("slt", (15.0, 3.0)), ("rms", (6.0,)), ("joe", (20.0, 2.0))):
            said = [(voice, texts[name]) for name in ("question", "names", "technical")]
            yield from self._scene(f"{voice}-pauses", said, "en", "pauses", gaps)

    def _dialogues(self) -> Iterator[Made]:
        pairs = {"picnic": ("slt", "rms"), "machine": ("joe", "hibari"), "museum": ("awb", "slt")}
        more = {"picnic": ("hibari", "awb"), "machine": ("rms", "awb"), "museum": ("joe", "rms")}
        for cast in (pairs, more):
            for name, voices in cast.items():
                said = self._cast(name, voices)
                label = f"{name}-{'-'.join(voices)}"
                for clip, samples in self._scene(label, said, "en", "two speakers", (0.4, 0.7, 0.25)):
                    yield clip, samples
                    if cast is pairs:
                        for noise in ("white", "babble"):
                            yield from self._under(clip, samples, noise, 10, "noisy speakers")
        for name, voices in pairs.items():
            label = f"{name}-{'-'.join(voices)}-overlap"
            yield from self._scene(label, self._cast(name, voices), "en", "overlap", (-0.8, 0.3, -1.2))
        three = self._cast("museum", ("hibari", "rms", "awb"))
        yield from self._scene("museum-three", three, "en", "two speakers", (0.4, 0.6))
        for voice in ("hibari", "rms"):
            said = self._cast("machine", (voice,))[:3]
            yield from self._scene(f"machine-{voice}-alone", said, "en", "one speaker", (0.6,))

    def _cast(self, dialogue: str, voices: Sequence[str]) -> list[tuple[str, str]]:
        return [(voices[number % len(voices)], text) for number, text in enumerate(self._texts["dialogues"][dialogue])]

    def _japanese(self) -> Iterator[Made]:
        for number, text in enumerate(self._texts["japanese"]["texts"]):
            voice = JAPANESE[number % len(JAPANESE)]
            yield from self._monologue(f"{voice}-{number}", voice, text, "ja", "clean")

    def _others(self) -> Iterator[Made]:
        for language, texts in self._texts["other"].items():
            voice = f"espeak-{language}"
            for number, text in enumerate(texts):
                yield from self._monologue(f"espeak-{language}-{number}", voice, text, language, "clean")

    def _nobody(self) -> Iterator[Made]:
        """Clips without speech: every transcribed word is a hallucination."""
        seconds = 12.0
        kinds: Mapping[str, Callable[[Any], sound.Samples]] = {
            "silence": lambda _: sound.silence(seconds),
            "whisper-quiet": lambda random: np.float32(0.003) * sound.white(seconds, random),
            "white": lambda random: sound.white(seconds, random),
            "hum": lambda random: sound.hum(seconds, random),
            "music": lambda random: sound.tune(seconds, random),
            "knocks": lambda random: sound.clicks(seconds, random),
            "short": lambda random: np.float32(0.05) * sound.white(0.4, random),
            "long": lambda random: np.float32(0.02) * sound.white(45.0, random),
        }
        for name, make in kinds.items():
            samples = make(_random(name)).clip(-0.99, 0.99)
            clip = EvaluationClip(
                id=f"nobody-{name}",
                text="",
                language="",
                voices=(),
                condition="no speech",
                seconds=round(len(samples) / sound.RATE, 3),
                origin="made: computed",
                licence="Apache-2.0",
            )
            yield clip, samples


def _turn(speaker: str, samples: sound.Samples, at: int, text: str) -> SpeakerTurn:
    start, end = sound.speech_bounds(samples)
    begin, finish = (at + start) / sound.RATE, (at + end) / sound.RATE
    return SpeakerTurn(speaker=speaker, start=round(begin, 3), end=round(finish, 3), text=text)


def _later(word: TimedWord, seconds: float) -> TimedWord:
    return TimedWord(text=word.text, start=round(max(0.0, word.start + seconds), 3), end=round(word.end + seconds, 3))


def _random(name: str) -> np.random.Generator:
    """A deterministic seed for a name."""
    return np.random.default_rng(zlib.crc32(name.encode()))
