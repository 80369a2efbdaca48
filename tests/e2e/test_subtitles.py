"""Subtitles of real speech: heard, and aligned with a text that is known."""

from statistics import mean
from typing import Any

import httpx
import pytest
from openai import OpenAI

LINES = ("The morning was bright and very cold.", "Seven people walked slowly under the old bridge.")


@pytest.fixture(scope="module")
def sound(client: OpenAI) -> bytes:
    """The lines, spoken."""
    spoken = client.audio.speech.create(model="tts-1", voice="default", input=" ".join(LINES), response_format="wav")
    return spoken.content


@pytest.fixture
def align(fleet: Any, sound: bytes) -> Any:
    url = f"{fleet.address('gateway')}/v1/audio/align"

    def align(text: str, **fields: str) -> httpx.Response:
        files = {"file": ("a.wav", sound, "audio/wav")}
        return httpx.post(url, files=files, data={"text": text, **fields}, timeout=60)

    return align


def test_a_known_text_is_found_word_by_word(align: Any) -> None:
    answer = align("\n".join(LINES), language="en").json()
    words = answer["words"]
    assert " ".join(word["word"] for word in words) == " ".join(LINES)
    moments = [moment for word in words for moment in (word["start"], word["end"])]
    assert moments == sorted(moments)
    assert moments[-1] <= answer["duration"]
    assert mean(word["confidence"] for word in words) > 0.7
    lengths = [word["end"] - word["start"] for word in words]
    assert all(0.03 < length < 1.2 for length in lengths)
    srt = align("\n".join(LINES), response_format="srt").text
    assert [block.split("\n", 2)[2].replace("\n", " ") for block in srt.strip().split("\n\n")] == list(LINES)


def test_a_text_that_nobody_says_is_doubted(align: Any) -> None:
    answer = align("Quarterly revenue exceeded analysts' expectations because tulips hate bicycles.", language="en")
    assert mean(word["confidence"] for word in answer.json()["words"]) < 0.5


def test_what_is_heard_as_subtitles_and_as_events(client: OpenAI, sound: bytes) -> None:
    file = ("a.wav", sound, "audio/wav")
    vtt = str(client.audio.transcriptions.create(model="whisper-1", file=file, response_format="vtt"))
    assert vtt.startswith("WEBVTT\n\n00:00:0")
    assert "morning was bright" in vtt.replace("\n", " ")
    events = list(client.audio.transcriptions.create(model="whisper-1", file=file, stream=True))
    deltas = [event.delta for event in events if event.type == "transcript.text.delta"]
    (done,) = [event for event in events if event.type == "transcript.text.done"]
    assert "".join(deltas) == done.text
    assert "old bridge" in done.text
