import base64
import io
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from rich.console import Console

from client.errors import GatewayError
from client.gateway import GatewayClient
from fleet.cli.ask import Question, ask_question, body, seconds_table

ABOUT = {
    "steps": [
        {"name": "read_text", "model": "reader", "start": 0.0, "seconds": 0.5, "cached": False, "error": ""},
        {"name": "transcribe", "model": "hearer", "start": 0.0, "seconds": 1.0, "cached": False, "error": "late"},
        {"name": "generate_text", "model": "writer", "start": 1.0, "seconds": 1.0, "cached": False, "error": ""},
    ],
    "seconds": 2.0,
    "models": ["reader", "writer"],
    "sources": [],
    "degraded": ["transcribe"],
}


def chunk(delta: dict[str, object], **more: object) -> bytes:
    return b"data: " + json.dumps({"choices": [{"delta": delta}], **more}).encode() + b"\n\n"


def sound(data: bytes) -> bytes:
    return chunk({"audio": {"id": "a", "data": base64.b64encode(data).decode()}})


ANSWERS = {
    "whole": chunk({"content": "Fo"})
    + chunk({"content": "ur"})
    + sound(b"RIFF")
    + sound(b"...")
    + chunk({}, polyphony=ABOUT),
    "broken": chunk({"content": "Fo"}) + b'data: {"error": {"message": "the model died"}}\n\n',
    "short": chunk({"content": "Fo"}),
}


class Desk(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name = request["messages"][0]["content"][0]["text"]
        status = 200 if name in ANSWERS else 400
        refusal = {"error": {"message": "the image is empty", "param": "messages[0]"}}
        answer = ANSWERS.get(name, json.dumps(refusal).encode())
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *unused: object) -> None:
        return


@pytest.fixture
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Desk) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


async def asked(url: str, question: Question, show: Callable[[str], None] = lambda delta: None) -> dict[str, object]:
    async with GatewayClient.open(url) as gateway:
        return await ask_question(gateway, question, show)


async def test_the_answer_is_shown_as_it_comes_and_spoken_into_a_file(url: str, home: Path):
    pieces: list[str] = []
    about = await asked(url, Question("whole", speak=home / "o.wav"), pieces.append)
    assert "".join(pieces) == "Four"
    assert about == ABOUT
    assert (home / "o.wav").read_bytes() == b"RIFF..."


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("broken", "the model died"),
        ("short", "ended before its final event"),
        ("refused", r"the image is empty \(messages\[0\]\)"),
    ],
)
async def test_a_failure_is_said(url: str, name: str, says: str):
    with pytest.raises(GatewayError, match=says):
        await asked(url, Question(name))


async def test_nobody_at_the_address_is_said():
    with pytest.raises(GatewayError, match=r"gateway at http.* does not answer"):
        await asked("http://127.0.0.1:9", Question("anyone?"))


def test_everything_given_is_in_the_request(home: Path):
    for name in ("page.png", "question.mp3"):
        (home / name).write_bytes(b"bytes")
    question = Question("why?", [home / "page.png"], [home / "question.mp3"], model="m", speak=home / "answer.flac")
    request = body(question, "vs_1")
    image, audio, text = request["messages"][0]["content"]
    assert image["image_url"]["url"] == "data:image/png;base64,Ynl0ZXM="
    assert audio["input_audio"] == {"data": "Ynl0ZXM=", "format": "mp3"}
    assert text["text"] == "why?"
    assert request["tools"] == [{"type": "file_search", "vector_store_ids": ["vs_1"]}]
    assert request["audio"]["format"] == "flac"
    assert request["model"] == "m"


def test_the_bars_lie_on_one_clock():
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(seconds_table(ABOUT))
    rows = [line for line in console.export_text().splitlines() if "█" in line]
    starts, lengths = [row.index("█") for row in rows], [row.count("█") for row in rows]
    assert lengths == [7, 14, 14]
    assert starts[0] == starts[1] == starts[2] - 14
    assert "degraded: late" in rows[1]
