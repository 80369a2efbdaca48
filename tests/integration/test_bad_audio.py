"""Whatever is sent as sound: words, an empty text or an error that names the file; never a hang, never a 500."""

import io
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import av
import grpc
import httpx
import numpy as np
import psutil
import pytest
from polyphony.speech.v1.transcription_pb2 import TranscribeRequest
from polyphony.speech.v1.transcription_pb2_grpc import TranscriptionServiceStub
from polyphony.type.v1.media_pb2 import Media

from servekit.media.audio_encoder import encode_audio
from tests.integration.conftest import recording
from tests.unit.servekit.media.test_audio import film, wav

HEAR = "/v1/audio/transcriptions"
RATE = 16_000
TONE = (0.3 * np.sin(2 * np.pi * 440 * np.arange(2 * RATE) / RATE)).astype(np.float32)
PCM = (TONE * 32767).astype(np.int16)


def music():
    """A chord, struck again and again."""
    seconds = np.arange(4 * RATE) / RATE
    notes = sum(np.sin(2 * np.pi * pitch * seconds) for pitch in (261.6, 329.6, 392.0))
    return (0.2 * notes * np.exp(-4 * (seconds % 0.5))).astype(np.float32)


def not_numbers():
    samples = TONE.copy()
    samples[500:600] = np.nan
    return samples


HEARD = {
    "music": encode_audio(music(), "audio/mpeg", RATE),
    "one sample": wav(PCM[30:31], RATE),
    "768 kHz": wav(np.tile(PCM, 8), 768_000),
    "8 channels": wav(np.repeat(PCM[:, None], 8, axis=1), RATE, channels=8),
    "an offset": wav((TONE * 6000 + 20_000).astype(np.int16), RATE),
    "an mp3 that is cut short": encode_audio(TONE, "audio/mpeg", RATE)[:-2000],
    "a film": film(with_sound=True),
}
REFUSED = {
    "one hertz": (wav(PCM, 1), 415),
    "64 channels": (wav(np.repeat(PCM[:, None], 64, axis=1), RATE, channels=64), 415),
    "samples that are no numbers": (wav(not_numbers(), RATE), 400),
    "a film without sound": (film(with_sound=False), 415),
    "a header and nothing else": (wav(PCM[:0], RATE), 415),
}


@pytest.mark.parametrize("case", HEARD)
def test_unusual_audio_is_transcribed(http, case):
    response = http.post(HEAR, files={"file": ("a.wav", HEARD[case])}, data={"response_format": "verbose_json"})
    assert response.status_code == 200, response.text
    assert response.json()["text"]


@pytest.mark.parametrize("case", REFUSED)
def test_invalid_audio_is_rejected_with_its_reason(http, case):
    data, status = REFUSED[case]
    response = http.post(HEAR, files={"file": ("a.wav", data)})
    assert response.status_code == status, response.text
    assert response.json()["error"]["param"] == "file"


def test_silence_has_no_words(http):
    silence = encode_audio(np.zeros(3 * RATE, np.float32), "audio/wav", RATE)
    answer = http.post(HEAR, files={"file": ("a.wav", silence)}, data={"response_format": "verbose_json"}).json()
    assert (answer["text"], answer["segments"], answer["duration"]) == ("", [], 3.0)


@pytest.mark.parametrize("name", ["a.mp3", "a.txt", "a", "a.exe"])
def test_the_file_name_does_not_matter(http, name):
    assert http.post(HEAR, files={"file": (name, recording())}).json()["text"]


def test_a_hundred_concurrent_uploads_are_answered_or_rejected_with_a_retry_delay(fleet, http):
    speech = psutil.Process(fleet.status()["speech"]["pid"])
    sound = encode_audio(np.tile(TONE, 30), "audio/wav", RATE)  # a minute, 2 MB
    http.post(HEAR, files={"file": ("a.wav", sound)})
    before = speech.memory_info().rss
    limits = httpx.Limits(max_connections=100)
    with httpx.Client(base_url=http.base_url, timeout=240, limits=limits) as many, ThreadPoolExecutor(100) as callers:
        answers = list(callers.map(lambda _: many.post(HEAR, files={"file": ("a.wav", sound)}), range(100)))
    served = [answer for answer in answers if answer.status_code == 200]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert len(served) + len(refused) == 100
    assert served
    assert len({answer.text for answer in served}) == 1
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
    assert speech.memory_info().rss - before < 1000 << 20  # each as it came, as it was read, and as samples
    assert http.post(HEAR, files={"file": ("a.wav", recording())}).status_code == 200


@pytest.mark.serial
def test_a_stalled_upload_does_not_block_others(http):
    address = urlsplit(str(http.base_url))
    stalled = []
    for _ in range(20):
        one = socket.create_connection((address.hostname, address.port))
        one.sendall(
            b"POST /v1/audio/transcriptions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000000\r\n"
            b"content-type: multipart/form-data; boundary=b\r\n\r\n"
            b'--b\r\ncontent-disposition: form-data; name="file"; filename="a.wav"\r\n\r\nRIFF'
        )
        stalled.append(one)
    began = time.monotonic()
    assert http.post(HEAR, files={"file": ("a.wav", recording())}).json()["text"]
    assert time.monotonic() - began < 2
    for one in stalled:
        one.close()


def test_a_stalled_reader_costs_no_memory(fleet, http):
    speech = psutil.Process(fleet.status()["speech"]["pid"])
    sound = encode_audio(np.tile(TONE, 600), "audio/mpeg", RATE)  # twenty minutes, 75 MB as samples
    with grpc.insecure_channel(fleet.address("speech")) as channel:
        request = TranscribeRequest(audio=Media(inline=sound), word_times=True)
        minute = TranscribeRequest(audio=Media(inline=encode_audio(np.tile(TONE, 30), "audio/mpeg", RATE)))
        for call in [TranscriptionServiceStub(channel).Transcribe(minute, timeout=60) for _ in range(2)]:
            assert list(call)  # the engines are warm: they keep what they work with
        before = speech.memory_info().rss
        stalled = [TranscriptionServiceStub(channel).Transcribe(request, timeout=600) for _ in range(2)]
        first = [next(one) for one in stalled]
        assert {event.WhichOneof("event") for event in first} <= {"started", "progress"}
        time.sleep(1)
        assert speech.memory_info().rss - before < 90 << 20  # as samples they are 150 MB
        assert http.post(HEAR, files={"file": ("a.wav", recording())}).status_code == 200
        for one in stalled:
            one.cancel()


def test_a_recording_of_many_kinds_of_frames_ends_where_it_breaks(http):
    """A container whose second half is noise: what was decoded before is heard."""
    file = io.BytesIO()
    with av.open(file, "w", format="ogg") as out:
        track = out.add_stream("libopus", rate=48_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.tile(TONE, 6).reshape(1, -1), format="flt", layout="mono")
        frame.sample_rate = RATE
        resampler = av.AudioResampler(format="flt", layout="mono", rate=48_000)
        for piece in resampler.resample(frame):
            out.mux(track.encode(piece))
        out.mux(track.encode(None))
    sound = bytearray(file.getvalue())
    half = len(sound) // 2
    sound[half:] = np.random.default_rng(0).bytes(len(sound) - half)
    answer = http.post(HEAR, files={"file": ("a.ogg", bytes(sound))}, data={"response_format": "verbose_json"})
    assert answer.status_code == 200, answer.text
    assert 3 < answer.json()["duration"] < 9
