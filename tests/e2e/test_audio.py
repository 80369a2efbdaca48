"""Every route of `/v1/audio` on real models: each answer has what only the right model can know."""

import base64
import json
import re
from collections.abc import Iterator
from itertools import pairwise
from statistics import mean
from typing import Any

import httpx
import numpy as np
import pytest
from openai import InternalServerError, OpenAI

from evaluation.sounds import machine, wav
from evaluation.speech_set import sound
from servekit.media.audio_encoder import encode_audio
from tests.e2e.clips import TEXTS, Talk, clip, recalled, si_sdr, wrong

CLIPS = 8  # to fit a model of sounds to


def file(samples: sound.Samples) -> tuple[str, bytes]:
    return "a.wav", encode_audio(samples, "audio/wav", sound.RATE)


@pytest.fixture(scope="module")
def http(fleet: Any) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{fleet.address('gateway')}/v1/audio/", timeout=60) as http:
        yield http


@pytest.fixture(scope="module")
def talk() -> Talk:
    """A woman and a man."""
    return Talk.of("garden", "austen-4")


def post(http: httpx.Client, route: str, samples: sound.Samples, **fields: str | list[str]) -> httpx.Response:
    answer = http.post(route, files={"file": file(samples)}, data=fields)
    assert answer.status_code == 200, answer.text
    return answer


@pytest.mark.parametrize("form", ["json", "text", "verbose_json"])
def test_transcriptions(http, talk: Talk, form: str):
    written = post(http, "transcriptions", talk.samples, response_format=form, language="en").text
    assert wrong(talk.text, written if form == "text" else json.loads(written)["text"]) < 0.15


def cues(subtitles: str) -> list[tuple[float, str]]:
    """The start of each cue in seconds, and what follows it."""
    pieces = re.split(r"(?m)^\[?((?:\d+:)?\d+:\d+[.,]\d+)", subtitles)[1:]
    starts = [reversed(stamp.replace(",", ".").split(":")) for stamp in pieces[::2]]
    seconds = [sum(float(part) * 60**place for place, part in enumerate(start)) for start in starts]
    return list(zip(seconds, pieces[1::2], strict=True))


@pytest.mark.parametrize(
    ("form", "opens"), [("srt", "1\n00:00:00,"), ("vtt", "WEBVTT\n\n00:00:00."), ("lrc", "[00:00.")]
)
def test_transcriptions_as_subtitles(http, talk: Talk, form: str, opens: str):
    written = post(http, "transcriptions", talk.samples, response_format=form, language="en").text
    assert written.startswith(opens)
    pause = (talk.spans[0][1] + talk.spans[1][0]) / 2
    first, second = (
        " ".join(text for start, text in cues(written) if (start > pause) is later) for later in (False, True)
    )
    assert recalled(TEXTS["garden"], first) > 0.7
    assert recalled(TEXTS["austen-4"], second) > 0.7


def test_transcriptions_by_speaker(http, talk: Talk):
    reference = base64.b64encode(file(clip("austen-1"))[1]).decode()
    answer = post(
        http,
        "transcriptions",
        talk.samples,
        response_format="diarized_json",
        language="en",
        **{"known_speaker_names[]": ["reader"], "known_speaker_references[]": [f"data:audio/wav;base64,{reference}"]},
    ).json()
    said: dict[str, list[str]] = {}
    for segment in answer["segments"]:
        said.setdefault(segment["speaker"], []).append(segment["text"])
    assert list(said) == ["A", "reader"]
    assert recalled(TEXTS["garden"], " ".join(said["A"])) > 0.7
    assert recalled(TEXTS["austen-4"], " ".join(said["reader"])) > 0.7


def test_transcriptions_as_events(client: OpenAI, talk: Talk):
    events = list(client.audio.transcriptions.create(model="whisper-1", file=file(talk.samples), stream=True))
    deltas = [event.delta for event in events if event.type == "transcript.text.delta"]
    (done,) = [event for event in events if event.type == "transcript.text.done"]
    assert len(deltas) > 1
    assert "".join(deltas) == done.text
    assert wrong(talk.text, done.text) < 0.15


def test_translations(http):
    heard = post(http, "translations", clip("pump"), response_format="verbose_json").json()
    assert (heard["task"], heard["language"]) == ("translate", "english")
    assert wrong(TEXTS["pump"], heard["text"]) < 0.2


def test_diarize(http, talk: Talk):
    answer = post(http, "diarize", talk.samples, speakers="2").json()
    turns = [(turn["start"], turn["end"], turn["speaker"]) for turn in answer["turns"]]
    assert [talk.speaker(turns, number) for number in range(2)] == ["A", "B"]
    assert answer["duration"] == pytest.approx(len(talk.samples) / sound.RATE, abs=0.01)


def test_align(http, talk: Talk):
    answer = post(http, "align", talk.samples, text=talk.text, language="en").json()
    words = answer["words"]
    assert " ".join(word["word"] for word in words) == talk.text.replace("\n", " ")
    assert all(word["end"] <= after["start"] + 0.01 for word, after in pairwise(words))
    assert mean(0.03 < word["end"] - word["start"] < 1.2 for word in words) > 0.9
    assert next(word["start"] for word in words if word["line"] == 1) == pytest.approx(talk.spans[1][0], abs=0.25)
    srt = post(http, "align", talk.samples, text=talk.text, language="en", response_format="srt").text
    cues = [block.split("\n", 2)[2].replace("\n", " ") for block in srt.strip().split("\n\n")]
    assert " ".join(cues) == talk.text.replace("\n", " ")


def test_a_text_that_is_not_spoken_gets_low_confidence(http, talk: Talk):
    text = "Quarterly revenue exceeded analysts' expectations because tulips hate bicycles."
    words = post(http, "align", talk.samples, text=text, language="en").json()["words"]
    assert mean(word["confidence"] for word in words) < 0.5


def test_enhance(http):
    clean = np.concatenate([sound.silence(0.5), clip("austen-2"), sound.silence(0.5)])
    noisy = sound.noisy(clean, sound.white(5, np.random.default_rng(0)), 5)
    cleaned = sound.decode(post(http, "enhance", noisy, response_format="flac").content)
    assert si_sdr(clean, cleaned) > si_sdr(clean, noisy) + 5
    figures = post(http, "enhance", noisy, answer="json", loudness_lufs="-20").json()
    assert figures["snr_after"] > figures["snr_before"] + 5
    assert figures["loudness_after"] == pytest.approx(-20, abs=1)


def test_assess(http):
    answer = post(http, "assess", clip("pump"), reference_text=TEXTS["pump"].replace("tank", "blue tank")).json()
    verdicts = [(word["text"], word["verdict"]) for word in answer["words"]]
    assert ("blue", "missing") in verdicts
    assert mean(verdict == "right" for _, verdict in verdicts) > 0.8
    assert answer["scores"]["completeness"] < 100


def test_emotion(http):
    answer = post(http, "emotion", clip("austen-3"), language="en").json()  # "cold-hearted", "selfish"
    assert answer["basis"] == "words_and_prosody"
    assert answer["sentiment"]["basis"] == "vader-en"
    assert answer["sentiment"]["score"] < -0.2
    assert 70 < answer["segments"][0]["prosody"]["pitch_hertz"] < 200  # a man's


def test_sound_models(http):
    def clips(condition: str, count: int) -> list[tuple[str, tuple[str, bytes]]]:
        return [("files", (f"{n}.wav", wav(machine("motor", 3, condition, n)))) for n in range(count)]

    def judge(route: str, condition: str) -> Any:
        return http.post(route, files={"file": ("a.wav", wav(machine("motor", 3, condition, 90)))}).json()

    normal, whining = clips("normal", CLIPS), clips("whine", CLIPS)
    fitted = http.post("sound_models", data={"name": "motor"}, files=normal).json()
    assert (fitted["version"], fitted["clips"]) == (1, CLIPS)
    assert not judge("sound_models/motor/score", "normal")["anomalous"]
    odd = judge("sound_models/motor/score", "knocking")
    assert odd["anomalous"]
    assert odd["score"] > odd["threshold"] == pytest.approx(fitted["threshold"])

    labels = ["normal"] * CLIPS + ["whine"] * CLIPS
    assert (
        http.post("sound_models", data={"name": "kinds", "labels": labels}, files=normal + whining).status_code == 200
    )
    for condition in ("normal", "whine"):
        assert judge("sound_models/kinds/classify", condition)["classes"][0]["label"] == condition
    listed = [row["name"] for row in http.get("sound_models").json()["data"]]
    assert {"kinds", "motor"} <= set(listed)
    for name in ("motor", "kinds"):
        assert http.delete(f"sound_models/{name}").status_code == 200
    left = [row["name"] for row in http.get("sound_models").json()["data"]]
    assert left == [name for name in listed if name not in ("kinds", "motor")]


def test_speech(http):
    text = "A kettle sings on the stove."
    spoken = http.post("speech", json={"model": "tts-1", "input": text, "voice": "heart", "response_format": "wav"})
    heard = http.post("transcriptions", files={"file": ("a.wav", spoken.content)}, data={"language": "en"}).json()
    assert wrong(text, heard["text"]) < 0.2


def test_voices_are_listed_and_cannot_be_created(client: OpenAI, http):
    assert [voice["id"] for voice in http.get("voices").json()["data"]] == ["heart"]
    with pytest.raises(InternalServerError, match="gpu-voices") as raised:
        client.audio.voices.create(
            name="anna", consent="Anna agreed", audio_sample=file(clip("austen-1")), type="audio_sample"
        )
    assert raised.value.status_code == 501
    assert http.delete("voices/anna").status_code == 404
