"""The vLLM generator against a small server that speaks vLLM's HTTP interface."""

import asyncio
import json
import threading
import time

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Route

from servekit.models import catalogue
from servekit.rpc.context import CancellationToken
from servekit.rpc.errors import Cancelled, EngineCrashed, FailedPrecondition, InvalidArgument, TooLarge
from services.generation.generate_text import Delta, Finished, Part, Prompt, Turn
from services.generation.generate_text.models import vllm
from services.generation.settings import GenerationSettings


class Peer:
    """A vLLM whose tokens are UTF-8 bytes and that echoes the last turn, a word a chunk."""

    def __init__(self, pause=0.0):
        self.pause = pause
        self.requests = []
        self.broken = False
        self.left = threading.Event()

    async def tokenize(self, request):
        body = await request.json()
        assert body["model"] == "served"
        text = body.get("prompt", "".join(turn["content"] for turn in body.get("messages", ())))
        tokens = list(text.encode())
        return JSONResponse({"count": len(tokens), "tokens": tokens, "max_model_len": 100})

    async def detokenize(self, request):
        return JSONResponse({"prompt": bytes((await request.json())["tokens"]).decode(errors="replace")})

    async def chat(self, request):
        body = await request.json()
        self.requests.append(body)
        form = body.get("response_format")
        if form and form["json_schema"]["schema"].get("type") == "banana":
            return JSONResponse({"error": {"message": "no such type"}}, status_code=400)
        words = body["messages"][-1]["content"].split()

        async def events():
            try:
                for word in words:
                    yield self.event(choices=[{"index": 0, "delta": {"content": word}, "finish_reason": None}])
                    await asyncio.sleep(self.pause)
                    if self.broken:
                        return
                yield self.event(choices=[{"index": 0, "delta": {}, "finish_reason": "length"}])
                yield self.event(choices=[], usage={"prompt_tokens": 5, "completion_tokens": len(words)})
                yield "data: [DONE]\n\n"
            except asyncio.CancelledError:
                self.left.set()
                raise

        return StreamingResponse(events(), media_type="text/event-stream")

    def event(self, **chunk):
        return f"data: {json.dumps(chunk)}\n\n"

    async def health(self, request):
        return PlainTextResponse("")

    def app(self):
        post = {"methods": ["POST"]}
        return Starlette(
            routes=[
                Route("/health", self.health),
                Route("/tokenize", self.tokenize, **post),
                Route("/detokenize", self.detokenize, **post),
                Route("/v1/chat/completions", self.chat, **post),
            ]
        )


@pytest.fixture
def peer():
    return Peer()


@pytest.fixture
def model(peer):
    server = uvicorn.Server(uvicorn.Config(peer.app(), port=0, log_level="error", ws="none", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    model = vllm.VllmGenerator(f"http://127.0.0.1:{port}", "served", max_prompt_bytes=1000, window=100)
    yield model
    model.close()
    server.should_exit = True
    thread.join()


def prompt(text, max_part=0, **more):
    return Prompt((Turn("user", (Part(text, max_part),)),), **more)


def test_a_text_is_streamed(peer, model):
    model.warm()
    prepared = model.prepare(prompt("one two", max_tokens=9, seed=3, temperature=0.0, stop=("x",)))
    assert prepared.tokens == 7
    assert list(model.generate(prepared, CancellationToken())) == [Delta("one"), Delta("two"), Finished("length", 5, 2)]
    (sent,) = peer.requests
    assert {name: sent[name] for name in ("max_tokens", "seed", "temperature", "stop", "stream")} == {
        "max_tokens": 9,
        "seed": 3,
        "temperature": 0.0,
        "stop": ["x"],
        "stream": True,
    }
    assert "top_p" not in sent


def test_parts_are_cut_by_the_servers_tokenizer(model):
    prepared = model.prepare(prompt("ab你好", max_part=6))
    assert prepared.prompt.turns[0].text == "ab你"
    assert prepared.truncated == (0,)


def test_a_prompt_beyond_the_window_is_refused(model):
    with pytest.raises(TooLarge, match="100"):
        model.prepare(prompt("x" * 100))


def test_a_schema_that_the_server_refuses_is_named(model):
    prepared = model.prepare(prompt("x", schema={"type": "banana"}))
    with pytest.raises(InvalidArgument) as refused:
        list(model.generate(prepared, CancellationToken()))
    assert refused.value.field == "format.json_schema"


def test_a_set_flag_ends_the_text_on_the_server_too(peer, model):
    peer.pause = 0.05
    cancellation = CancellationToken()
    events = model.generate(model.prepare(prompt("w " * 40)), cancellation)
    assert next(events) == Delta("w")
    cancellation.cancel()
    with pytest.raises(Cancelled):
        next(events)
    assert peer.left.wait(5)


def test_a_server_that_breaks_off_is_gone(peer, model):
    peer.broken = True
    with pytest.raises(EngineCrashed):
        list(model.generate(model.prepare(prompt("a b")), CancellationToken()))


def test_a_server_that_is_not_there_is_gone():
    model = vllm.VllmGenerator("http://127.0.0.1:9", "served", max_prompt_bytes=1000, window=100)
    with pytest.raises(EngineCrashed):
        model.warm()
    model.close()


def test_no_server_is_a_clear_error(tmp_path):
    spec = catalogue.model("qwen2.5-7b-instruct")
    with pytest.raises(FailedPrecondition) as refused:
        vllm.load(spec, GenerationSettings(home=tmp_path))
    assert refused.value.field == "vllm"
