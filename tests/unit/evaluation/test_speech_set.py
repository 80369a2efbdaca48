from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from evaluation.speech_set import manifest, sound
from evaluation.speech_set.manifest import EvaluationClip, SpeakerTurn, TimedWord
from evaluation.speech_set.packages import PackageMissing
from evaluation.speech_set.recordings import novel
from evaluation.speech_set.scenes import Scenes
from evaluation.speech_set.voices import Spoken, TestVoice, VoiceSet

SECOND = sound.RATE


class Tone(TestVoice):
    """Says every text as a second of one pitch with a quarter of silence before it."""

    origin, licence = "made: a tone", "Apache-2.0"

    def __init__(self, name: str, pitch: float) -> None:
        self.name, self._pitch = name, pitch

    def say(self, text: str) -> Spoken:
        tone = np.sin(2 * np.pi * self._pitch * np.arange(SECOND) / SECOND).astype(np.float32)
        times = [0.25 + number / len(text.split()) for number in range(len(text.split()) + 1)]
        words = zip(text.split(), times, times[1:], strict=False)
        return np.concatenate([sound.silence(0.25), tone]), tuple(
            TimedWord(text=word, start=round(start, 3), end=round(end, 3)) for word, start, end in words
        )


class Dumb(TestVoice):
    """Cannot speak here."""

    name, origin, licence = "dumb", "nothing", "none"

    def say(self, text: str) -> Spoken:
        raise PackageMissing("the voice dumb: install a tongue")


def scenes(folder: Path, people=(("people", novel),)) -> Scenes:
    names = ("hibari", "joe", "slt", "rms", "awb", "jf-alpha", "jf-gongitsune", "jf-nezumi", "jf-tebukuro", "jm-kumo")
    names += tuple(f"espeak-{language}" for language in ("de", "es", "fr", "it", "nl", "pl", "pt", "ru", "zh"))
    voices = [Tone(name, 200 + 20 * number) for number, name in enumerate(names)]
    return Scenes(VoiceSet(folder, voices), people)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[EvaluationClip, sound.Samples]]:
    return {clip.id: (clip, samples) for clip, samples in scenes(tmp_path_factory.mktemp("spoken")).clips()}


def test_the_set_is_made_the_same_every_time(made, tmp_path):
    again = {clip.id: (clip, samples) for clip, samples in scenes(tmp_path).clips()}
    assert list(again) == list(made)
    for clip, samples in made.values():
        assert again[clip.id][0] == clip
        assert np.array_equal(again[clip.id][1], samples)


def test_what_was_said_is_not_said_again(tmp_path):
    VoiceSet(tmp_path, [Tone("a", 300)]).say("a", "one two")
    mute = Dumb()
    mute.name, mute.origin = "a", Tone.origin
    samples, words = VoiceSet(tmp_path, [mute]).say("a", "one two")
    assert [word.text for word in words] == ["one", "two"]
    assert sound.speech_power(samples) == pytest.approx(sound.SPEECH_POWER, rel=0.01)


def test_a_voice_that_is_not_here_is_left_out_once_and_noted(tmp_path):
    voices = VoiceSet(tmp_path, [Dumb()])
    for _ in range(2):
        with pytest.raises(PackageMissing):
            voices.say("dumb", "hello")
    assert voices.missing == ["the voice dumb: install a tongue"]


def test_there_are_at_least_sixty_utterances_of_what_the_lock_and_its_registry_give(made):
    speaking = [clip for clip, _ in made.values() if clip.text and clip.language in ("en", "ja")]
    assert len([clip for clip in speaking if clip.condition != "noisy"]) >= 60
    assert {clip.noise for clip in speaking} == {"", "white", "babble", "hum"}


def test_turns_stand_where_the_sound_does(made):
    clip, samples = made["picnic-slt-rms"]
    assert [turn.speaker for turn in clip.turns] == ["slt", "rms"] * 3
    heard = np.zeros(len(samples) // sound.FRAME, bool)
    for turn in clip.turns:
        heard[round(turn.start * 50) : round(turn.end * 50)] = True
    assert np.mean(heard == sound.speech_frames(samples)) > 0.99


def test_words_go_where_their_turn_goes(made):
    clip, _ = made["picnic-slt-rms"]
    assert [word.text for word in clip.words] == clip.text.split()
    assert clip.words[0].start == pytest.approx(clip.turns[0].start, abs=0.03)
    assert clip.words[-1].end == pytest.approx(clip.turns[-1].end, abs=0.03)


def test_turns_overlap_where_they_are_to_and_only_there(made):
    def overlaps(name: str) -> int:
        turns = made[name][0].turns
        return sum(after.start < before.end for before, after in pairwise(turns))

    assert overlaps("picnic-slt-rms") == 0
    assert overlaps("picnic-slt-rms-overlap") == 3


@pytest.mark.parametrize("snr", [20, 10, 5, 0])
def test_noise_is_as_loud_as_the_manifest_says(made, snr):
    clip, samples = made[f"hibari-prose-white-{snr}"]
    clean = made[clip.clean][1]
    gain = np.dot(samples, clean) / np.dot(clean, clean)
    noise = samples - gain * clean
    ratio = sound.speech_power(gain * clean) / np.mean(np.square(noise))
    assert 10 * np.log10(ratio) == pytest.approx(snr, abs=0.3)
    assert clip.snr_db == snr
    assert np.abs(samples).max() < 1


def test_recordings_that_are_not_here_are_left_out_and_noted(tmp_path):
    def gone():
        raise PackageMissing("a recording: install it")
        yield

    lacking = scenes(tmp_path, [("short", gone), ("people", novel)])
    assert any(clip.condition == "people" for clip, _ in lacking.clips())
    assert lacking.missing == ["a recording: install it"]


@pytest.mark.parametrize(
    ("names", "babbles"), [(["slt"], False), (["slt", "joe"], False), (["slt", "joe", "rms"], True)]
)
def test_where_too_few_can_speak_nobody_babbles(tmp_path, names, babbles):
    few = Scenes(VoiceSet(tmp_path, [Tone(name, 200 + 20 * at) for at, name in enumerate(names)]), [])
    noises = {clip.noise for clip, _ in few.clips() if clip.clean == "slt-technical"}
    assert noises == {"white", "hum"} | ({"babble"} if babbles else set())
    lack = f"slt-technical under babble: 2 more voices that speak English are needed, there are {len(names) - 1}"
    assert few.missing.count(lack) == (not babbles)


def test_where_nobody_speaks_there_is_no_text(made):
    nobody = [clip for clip, _ in made.values() if clip.condition == "no speech"]
    assert len(nobody) == 8
    assert not any(clip.text or clip.turns for clip in nobody)


def test_a_manifest_is_read_as_it_was_written(made, tmp_path):
    clips = [clip for clip, _ in made.values()]
    manifest.write(tmp_path, clips, ["a voice: install it"])
    assert manifest.read(tmp_path) == manifest.Manifest(clips=tuple(clips), missing=("a voice: install it",))


def test_turns_are_written_as_rttm():
    clip = EvaluationClip(
        id="a",
        text="Hi.",
        language="en",
        voices=("x",),
        condition="clean",
        seconds=2,
        turns=(SpeakerTurn(speaker="x", start=0.5, end=1.25, text="Hi."),),
        origin="o",
        licence="l",
    )
    assert manifest.rttm(clip) == "SPEAKER a 1 0.500 0.750 <NA> <NA> x <NA> <NA>\n"
