"""The adapter of vLLM-Omni on a server that speaks its wire: `/v1/audio/speech` with its own fields, and `/health`."""

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from servekit.context import CancellationToken
from servekit.errors import Cancelled, EngineCrashed, FailedPrecondition, Internal, InvalidArgument, Overloaded
from servekit.models.catalogue import model
from services.speech.settings import SpeechSettings
from services.speech.synthesis import Reference, Speaker
from services.speech.synthesis.models.vllm_omni import load

SOUND = (np.sin(np.arange(24_000) / 20) * 16_000).astype("<i2").tobytes()
ANNA = Speaker("", "en", Reference(b"RIFF", "Good morning."))


class Server(BaseHTTPRequestHandler):
    """Speaks a second of tone in pieces of an odd size; refuses what vLLM-Omni refuses."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self._answer(200 if self.path == "/health" else 404, b"")

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.seen.append((self.path, body))
        if self.server.status != 200:
            self._answer(self.server.status, b'{"error": {"message": "no"}}')
            return
        assert body["stream_format"] == "audio"
        assert body["response_format"] == "pcm"
        assert "speed" not in body, "the server streams at its own pace only"
        self.send_response(200)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for start in range(0, len(SOUND), 4801):
            piece = SOUND[start : start + 4801]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")

    def _answer(self, status, body):
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    server.status, server.seen = 200, []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def omni(server, tmp_path):
    url = f"http://127.0.0.1:{server.server_port}"
    omni = load(model("qwen3-tts-base-vllm"), SpeechSettings(home=tmp_path, vllm_omni_url=url))
    yield omni
    omni.close()


def test_speaks_with_the_voice_of_a_recording(omni, server):
    omni.warm()
    samples = np.concatenate(list(omni.speak("Hello there.", ANNA, 1.0, CancellationToken())))
    assert samples.dtype == np.float32
    assert np.array_equal((samples * 32768).astype("<i2"), np.frombuffer(SOUND, "<i2"))
    ((path, body),) = server.seen
    assert path == "/v1/audio/speech"
    assert (body["model"], body["input"]) == ("Qwen/Qwen3-TTS-12Hz-1.7B-Base", "Hello there.")
    assert (body["task_type"], body["language"], body["ref_text"]) == ("Base", "English", "Good morning.")
    assert base64.b64decode(body["ref_audio"].removeprefix("data:audio/wav;base64,")) == b"RIFF"


def test_without_a_text_only_the_timbre_is_taken(omni, server):
    list(omni.speak("你好。", Speaker("", "zh", Reference(b"RIFF", "")), 1.0, CancellationToken()))
    body = server.seen[0][1]
    assert body["x_vector_only_mode"] is True
    assert body["language"] == "Chinese"
    assert "ref_text" not in body


def test_a_voice_of_its_own_goes_by_name(omni, server):
    list(omni.speak("Hello.", Speaker("vivian", "en"), 1.0, CancellationToken()))
    body = server.seen[0][1]
    assert body["voice"] == "vivian"
    assert "ref_audio" not in body


@pytest.mark.parametrize(
    ("status", "error"), [(400, InvalidArgument), (429, Overloaded), (503, EngineCrashed), (500, Internal)]
)
def test_refusals_are_named(omni, server, status, error):
    server.status = status
    with pytest.raises(error):
        list(omni.speak("Hello.", ANNA, 1.0, CancellationToken()))


def test_stops_when_nobody_listens(omni):
    cancellation = CancellationToken()
    sound = omni.speak("Hello.", ANNA, 1.0, cancellation)
    next(sound)
    cancellation.cancel()
    with pytest.raises(Cancelled):
        list(sound)


def test_a_server_that_cannot_be_reached_is_a_crashed_engine(tmp_path):
    omni = load(model("qwen3-tts-base-vllm"), SpeechSettings(home=tmp_path, vllm_omni_url="http://127.0.0.1:9"))
    with pytest.raises(EngineCrashed):
        omni.warm()
    omni.close()
    with pytest.raises(FailedPrecondition, match="vllm_omni_url must be set"):
        load(model("qwen3-tts-base-vllm"), SpeechSettings(home=tmp_path))
