"""The vLLM chat model against a small server with vLLM's HTTP interface."""

import asyncio
import json
import threading
import time

import pytest
import uvicorn
from polyphony.type.v1.chat_pb2 import ChatMessage, ContentPart
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Route

from servekit.chat.model import GenerationDelta, GenerationFinished, GenerationOptions
from servekit.chat.vllm import VllmChatModel
from servekit.context import CancellationToken
from servekit.errors import Cancelled, EngineCrashed, FailedPrecondition, InvalidArgument, TooLarge


class Peer:
    """A vLLM whose tokens are UTF-8 bytes and one special token, and that echoes the last message, a word a chunk."""

    def __init__(self, pause=0.0):
        self.pause = pause
        self.requests = []
        self.tokenised = []
        self.broken = False
        self.left = threading.Event()

    async def tokenize(self, request):
        body = await request.json()
        assert body["model"] == "served"
        text = body.get("prompt", "".join(message["content"] for message in body.get("messages", ())))
        self.tokenised.append(text)
        first, *rest = [list(piece.encode()) for piece in text.split("<|eos|>")]
        tokens = first + [token for piece in rest for token in [256, *piece]]
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


def connect(url, separator="<|eos|>"):
    return VllmChatModel(url, "served", max_prompt_bytes=1000, window_tokens=100, separator=separator)


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
    model = connect(f"http://127.0.0.1:{port}")
    yield model
    model.close()
    server.should_exit = True
    thread.join()


def prepare(model, text, part_tokens=0, **options):
    part = ContentPart(text=text, max_tokens=part_tokens)
    return model.prepare([ChatMessage(role=ChatMessage.ROLE_USER, parts=[part])], GenerationOptions(**options))


def test_a_text_is_streamed(peer, model):
    model.warm()
    prompt = prepare(model, "one two", max_tokens=9, seed=3, temperature=0.0, stop=("x",))
    assert prompt.tokens == 7
    assert list(model.generate(prompt, CancellationToken())) == [
        GenerationDelta("one"),
        GenerationDelta("two"),
        GenerationFinished("length", 5, 2),
    ]
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
    prompt = prepare(model, "ab你好", part_tokens=6)
    assert prompt.messages == [{"role": "user", "content": "ab你"}]
    assert prompt.truncated_parts == (0,)


def test_all_parts_are_tokenised_in_one_request(peer, model):
    assert model.encode(["ab", "", "你"]) == [list(b"ab"), [], list("你".encode())]
    assert peer.tokenised == ["<|eos|>ab<|eos|><|eos|>你"]


def test_a_separator_that_is_not_one_token_is_refused(peer, model):
    model._separator = "<|no|>"
    with pytest.raises(FailedPrecondition, match="separator"):
        model.warm()


def test_a_prompt_beyond_the_window_is_refused(model):
    with pytest.raises(TooLarge, match="100"):
        prepare(model, "x" * 100)


def test_a_schema_that_the_server_refuses_is_named(model):
    prompt = prepare(model, "x", schema={"type": "banana"})
    with pytest.raises(InvalidArgument) as refused:
        list(model.generate(prompt, CancellationToken()))
    assert refused.value.field == "format.json_schema"


def test_cancellation_ends_the_text_on_the_server_too(peer, model):
    peer.pause = 0.05
    cancellation = CancellationToken()
    events = model.generate(prepare(model, "w " * 40), cancellation)
    assert next(events) == GenerationDelta("w")
    cancellation.cancel()
    with pytest.raises(Cancelled):
        next(events)
    assert peer.left.wait(5)


def test_a_stream_that_ends_early_is_a_crashed_engine(peer, model):
    peer.broken = True
    with pytest.raises(EngineCrashed):
        list(model.generate(prepare(model, "a b"), CancellationToken()))


def test_an_unreachable_server_is_a_crashed_engine():
    model = connect("http://127.0.0.1:9")
    with pytest.raises(EngineCrashed):
        model.warm()
    model.close()
