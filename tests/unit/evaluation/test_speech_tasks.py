"""What the tasks make of a gateway's answers, the gateway being a table of them."""

import json
import re
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from client.gateway import GatewayClient
from evaluation.speech import outcome
from evaluation.speech.alignment import AlignmentTask
from evaluation.speech.enhancement import EnhancementTask
from evaluation.speech.machines import AnomalyTask
from evaluation.speech.reading import SynthesisTask
from evaluation.speech.speakers import DiarizationTask
from evaluation.speech.task import EvaluationTask, spread
from evaluation.speech.transcripts import TranscriptionTask
from evaluation.speech_set import sound
from evaluation.speech_set.manifest import EvaluationClip, SpeakerTurn, TimedWord

MADE: dict[str, Any] = {"voices": ("ann",), "seconds": 10.0, "origin": "a test", "licence": "Apache-2.0"}
ONE = EvaluationClip(id="one", text="The quick fox jumps.", language="en", condition="clean", **MADE)
TWO = EvaluationClip(id="two", text="It sleeps all day long.", language="en", condition="clean", **MADE)
RAIN = EvaluationClip(id="rain", text="雨が降る", language="ja", condition="clean", **MADE)
NOBODY = EvaluationClip(id="nobody", text="", language="", condition="no speech", **MADE)


class Answers:
    """A gateway that knows the files of clips by their content, which is their id."""

    def __init__(self, folder: Path, clips: list[EvaluationClip]) -> None:
        self.folder, self.clips = folder, {clip.id: clip for clip in clips}
        for clip in clips:
            (folder / clip.file).write_bytes(clip.id.encode())

    def __call__(self, request: httpx.Request) -> httpx.Response:
        return self.answer(request.url.path, self._fields(request))

    def answer(self, path: str, fields: dict[str, str]) -> httpx.Response:
        raise NotImplementedError

    @staticmethod
    def _fields(request: httpx.Request) -> dict[str, str]:
        if request.headers.get("content-type", "").startswith("application/json"):
            return json.loads(request.content)
        found = re.findall(rb'name="(\w+)".*?\r\n\r\n(.*?)\r\n--', request.content, re.DOTALL)
        return {name.decode(): value.decode(errors="replace") for name, value in found}

    async def ask(self, task: EvaluationTask) -> outcome.TaskResult:
        async with httpx.AsyncClient(transport=httpx.MockTransport(self), base_url="http://gateway") as http:
            return await task.run(GatewayClient(http, 5.0), self.folder, lambda: None)


class Transcripts(Answers):
    """Mishears a word in the fitted window, invents one where nobody speaks, and once refuses."""

    refused = ""

    def answer(self, path: str, fields: dict[str, str]) -> httpx.Response:
        assert path == "/v1/audio/transcriptions"
        clip, full = self.clips[fields["file"]], fields.get("full_window") == "true"
        if clip.id == self.refused:
            return httpx.Response(400, json={"error": {"message": "the sound is no sound"}})
        text = clip.text if full else clip.text.replace("fox", "box")
        if not clip.text and not full:
            text = "Thanks."
        return httpx.Response(200, json={"text": text, "language": {"ja": "japanese"}.get(clip.language, "english")})


def table(found: outcome.TaskResult, title: str) -> dict[str, dict[str, Any]]:
    """The rows of a table by their names, each by its columns."""
    chosen = next(table for table in found.tables if table.title.startswith(title))
    return {str(row[0]): dict(zip(chosen.columns, row, strict=True)) for row in chosen.rows}


async def test_fitted_and_full_windows_are_compared(tmp_path):
    found = await Transcripts(tmp_path, [ONE, TWO, RAIN, NOBODY]).ask(TranscriptionTask([ONE, TWO, RAIN, NOBODY], 0))
    rows = table(found, "English")
    assert rows["clean"]["clips"] == 2
    assert rows["clean"]["WER %, fitted"] == pytest.approx(100 / 9)
    assert rows["clean"]["WER %, full"] == 0
    assert rows["all English"]["fitted minus full"].startswith("+11.1 ")
    assert table(found, "Languages")["ja, voices, CER"]["language correct, fitted"] == "1 of 1"
    assert table(found, "Recordings without speech")["nobody"]["characters, fitted"] == 7
    assert [look.item for look in found.worst] == ["nobody, fitted window", "one, fitted window"]
    assert not found.failures


async def test_a_clip_without_an_answer_is_named_and_counted_nowhere(tmp_path):
    answers = Transcripts(tmp_path, [ONE, TWO])
    answers.refused = "two"
    found = await answers.ask(TranscriptionTask([ONE, TWO], 0))
    assert table(found, "English")["clean"]["clips"] == 1
    assert [failure.item for failure in found.failures] == ["two, fitted window", "two, full window"]
    assert "the sound is no sound" in found.failures[0].reason


TURNS = (SpeakerTurn(speaker="ann", start=0, end=4, text="a"), SpeakerTurn(speaker="bob", start=4, end=8, text="b"))
PAIR = EvaluationClip(
    id="pair", text="a b", language="en", condition="two speakers", turns=TURNS, **MADE | {"voices": ("ann", "bob")}
)


class Turns(Answers):
    """Hears one speaker where it is not told how many there are."""

    def answer(self, path: str, fields: dict[str, str]) -> httpx.Response:
        assert path == "/v1/audio/diarize"
        second = "B" if fields.get("speakers") == "2" else "A"
        turns = [{"start": 0, "end": 4, "speaker": "A"}, {"start": 4, "end": 8, "speaker": second}]
        return httpx.Response(200, json={"turns": turns})


async def test_diarization_is_scored_with_and_without_the_number_of_speakers(tmp_path):
    rows = table(await Turns(tmp_path, [PAIR]).ask(DiarizationTask([PAIR, ONE], 0)), "Diarization")
    assert rows["two speakers"]["number correct"] == "0 of 1"
    assert rows["two speakers"]["no collar"] == pytest.approx(50)
    assert rows["two speakers"]["confusion"] == pytest.approx(50)
    assert rows["two speakers"]["collar, number given"] == 0


WORDS = (TimedWord(text="good", start=0.0, end=0.5), TimedWord(text="morning", start=0.5, end=1.0))
TIMED = EvaluationClip(id="timed", text="good morning", language="en", condition="clean", words=WORDS, **MADE)


class Times(Answers):
    late = 0.04
    lost = 0

    def answer(self, path: str, fields: dict[str, str]) -> httpx.Response:
        assert (path, fields["text"]) == ("/v1/audio/align", "good morning")
        words = [{"start": word.start + self.late, "end": word.end + self.late} for word in WORDS[self.lost :]]
        return httpx.Response(200, json={"words": words})


async def test_word_times_are_scored(tmp_path):
    rows = table(await Times(tmp_path, [TIMED]).ask(AlignmentTask([TIMED, ONE], 0)), "Word times")
    assert rows["clean"]["median ms"] == pytest.approx(40)
    assert rows["clean"]["% within 100 ms"] == 100


async def test_a_word_that_is_left_out_is_no_answer(tmp_path):
    answers = Times(tmp_path, [TIMED])
    answers.lost = 1
    found = await answers.ask(AlignmentTask([TIMED], 0))
    assert not found.tables
    assert found.failures[0].reason == "1 words were placed of 2"


class Cleaner(Answers):
    """Gives the clean sound back, with a little of the noise."""

    def __init__(self, folder: Path) -> None:
        random = np.random.default_rng(0)
        speech = np.sin(np.arange(48_000) / 9) * np.repeat(random.uniform(0, 1, 60), 800)
        self.clean = (0.3 * speech).astype(np.float32)
        noise = 0.1 * random.normal(size=48_000).astype(np.float32)
        clip = EvaluationClip(
            id="loud", text="Good day.", language="en", condition="noisy", noise="white", snr_db=5.0, **MADE
        )
        self.clip = clip.model_copy(update={"clean": "quiet"})
        super().__init__(folder, [])
        sound.write(folder / "loud.flac", self.clean + noise)
        sound.write(folder / "quiet.flac", self.clean)
        sound.write(folder / "cleaned.flac", self.clean + np.float32(0.1) * noise)

    def answer(self, path: str, fields: dict[str, str]) -> httpx.Response:
        if path == "/v1/audio/enhance":
            return httpx.Response(200, content=(self.folder / "cleaned.flac").read_bytes())
        return httpx.Response(200, json={"text": "Good day.", "language": "en"})


async def test_cleaned_sound_is_nearer_to_the_clean(tmp_path):
    answers = Cleaner(tmp_path)
    row = table(await answers.ask(EnhancementTask([answers.clip], 0)), "Noise")["noisy, white 5 dB"]
    assert row["SI-SDR dB, enhanced"] - row["SI-SDR dB, noisy"] == pytest.approx(20, abs=0.5)
    assert row["STOI, enhanced"] > row["STOI, noisy"]
    assert row["WER %, enhanced"] == 0


class Reader(Answers):
    """One voice, and a transcriber that hears every text but never the word `library`."""

    def answer(self, path: str, fields: dict[str, str]) -> httpx.Response:
        if path == "/v1/audio/voices":
            return httpx.Response(200, json={"data": [{"name": "ann", "model": "m", "languages": ["en"]}]})
        if path == "/v1/audio/speech":
            return httpx.Response(200, content=fields["input"].encode())
        return httpx.Response(200, json={"text": fields["file"].replace("library", "berry"), "language": "en"})


async def test_each_voice_is_transcribed_in_its_languages(tmp_path):
    found = await Reader(tmp_path, []).ask(SynthesisTask([], 0))
    rows = table(found, "Synthesis")
    assert list(rows) == ["ann (m)"]
    assert rows["ann (m)"]["texts"] == 10
    assert 0 < rows["ann (m)"]["error %"] < 2


def test_a_limit_takes_clips_from_all_over():
    drawn = spread(range(100), 20)
    assert drawn == sorted({*drawn}) == spread(range(100), 20)
    assert len(drawn) == 20
    assert min(drawn) < 25 < 75 < max(drawn)
    assert spread(range(3), 5) == spread(range(3), 0) == [0, 1, 2]


async def test_figures_are_written_as_markdown(tmp_path):
    data = outcome.as_json([await Transcripts(tmp_path, [ONE, TWO]).ask(TranscriptionTask([ONE, TWO], 0))])
    lines = outcome.as_markdown(json.loads(json.dumps(data)), "Today.").splitlines()
    assert [lines[0], lines[2]] == ["Today.", "### English, by condition"]
    assert any(line.startswith("| clean | 2 | 0.3 | 11.1 | [") for line in lines)


class Listener(Answers):
    """Knows a fault by how peaked its sound is, and calls every sound an alarm."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, [])
        self.fitted: list[int] = []
        self.deleted = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if request.method == "DELETE":
            self.deleted += 1
            return httpx.Response(200, json={})
        if path == "/v1/audio/sound_models":
            self.fitted.append(request.content.count(b'name="labels"'))
            return httpx.Response(200, json={})
        if path.endswith("/classify"):
            return httpx.Response(200, json={"classes": [{"label": "alarm", "probability": 0.9}]})
        samples = np.frombuffer(request.content[request.content.index(b"data") + 8 :][:8_000], "<i2").astype(float)
        score = float(np.max(np.abs(np.fft.rfft(samples))) / np.sqrt(np.mean(samples**2)))
        return httpx.Response(200, json={"score": score, "anomalous": True})


async def test_machines_of_the_training_data_and_held_out_ones_are_scored_apart(tmp_path):
    listener = Listener(tmp_path)
    task = AnomalyTask([], 12, seconds=0.25)
    found = await listener.ask(task)
    anomalies, classes = table(found, "Anomalous"), table(found, "Machine sound")
    assert set(classes) == {"machines in the training data", "held-out machines"}
    assert classes["held-out machines"]["macro F1"] == "0.100"  # one class of four, a quarter right: F1 0.4
    assert all(row["% false alarms"] == row["% faults detected"] == 100 for row in anomalies.values())
    assert all(0 <= float(row["AUC"]) <= 1 for row in anomalies.values())
    assert listener.fitted == [0, 0, 0, 96]
    assert listener.deleted == 4
    assert task.items == 48
