"""`polyphony ask`: an ordinary client of the gateway, which shows how long each step took."""

import base64
import mimetypes
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Column, Table
from rich.text import Text

from client.errors import GatewayError
from client.gateway import GatewayClient
from fleet.errors import FleetError
from fleet.runner import state
from fleet.settings import FleetSettings

BAR_WIDTH = 28
TIMEOUT_SECONDS = 300.0


@dataclass(frozen=True)
class Question:
    """One request of text, images, recordings and documents.

    Attributes:
        text: The question as text; may be empty where a recording asks it.
        images: Images to read.
        recordings: Recordings to transcribe.
        documents: Text files to search for the answer.
        model: A model id; empty for the default.
        speak: The file for the spoken answer, whose suffix is its format; None for text alone.
    """

    text: str
    images: Sequence[Path] = ()
    recordings: Sequence[Path] = ()
    documents: Sequence[Path] = ()
    model: str = ""
    speak: Path | None = None


@asynccontextmanager
async def connect(settings: FleetSettings) -> AsyncIterator[GatewayClient]:
    """Open a client of the gateway that the settings name, or of this home's gateway.

    Raises:
        FleetError: No fleet is running here and no URL is set.
    """
    url = settings.gateway_url or state.read(settings.run_dir).url
    async with GatewayClient.open(url, settings.api_key.get_secret_value(), TIMEOUT_SECONDS) as gateway:
        yield gateway


async def ask_question(gateway: GatewayClient, question: Question, show: Callable[[str], None]) -> dict[str, Any]:
    """Send a question, with its documents in a temporary vector store, and pass each delta of the answer to `show`.

    Returns:
        The `polyphony` object of the answer: steps, seconds, models, sources, degraded.

    Raises:
        FleetError: A file cannot be read.
        GatewayError: The gateway returns an error, or the stream ends before its final event.
    """
    async with AsyncExitStack() as stack:
        store_id = ""
        if question.documents:
            files = {path.name: read_file(path) for path in question.documents}
            store_id = await stack.enter_async_context(gateway.vector_store("ask", files))
        audio = bytearray()
        about: dict[str, Any] = {}
        async for chunk in gateway.events("POST", "/v1/chat/completions", json=body(question, store_id)):
            about = chunk.get("polyphony", about)
            for choice in chunk["choices"]:
                show(choice["delta"].get("content") or "")
                audio += base64.b64decode(choice["delta"].get("audio", {}).get("data", ""))
    if not about:
        raise GatewayError("the stream ended before its final event")
    if question.speak and audio:
        question.speak.write_bytes(audio)
    return about


def body(question: Question, store_id: str) -> dict[str, Any]:
    """The question as a chat completion request; `store_id` may be empty."""
    parts: list[dict[str, Any]] = []
    for path in question.images:
        url = f"data:{_mime_type(path, 'image/png')};base64,{_base64(path)}"
        parts.append({"type": "image_url", "image_url": {"url": url}})
    for path in question.recordings:
        audio = {"data": _base64(path), "format": path.suffix.lstrip(".").lower() or "wav"}
        parts.append({"type": "input_audio", "input_audio": audio})
    if question.text:
        parts.append({"type": "text", "text": question.text})
    request: dict[str, Any] = {"messages": [{"role": "user", "content": parts}], "stream": True, "temperature": 0}
    if question.model:
        request["model"] = question.model
    if store_id:
        request["tools"] = [{"type": "file_search", "vector_store_ids": [store_id]}]
    if question.speak:
        suffix = question.speak.suffix.lstrip(".").lower()
        request |= {"modalities": ["text", "audio"], "audio": {"voice": "default", "format": suffix or "wav"}}
    return request


def sources_table(sources: Sequence[Mapping[str, Any]]) -> Table:
    """A table of the passages that were in the prompt, with the numbers that the answer cites."""
    table = Table("", "source", "score", "passage", box=None, title="sources", title_justify="left")
    for source in sources:
        passage = Text(" ".join(source["text"].split()), overflow="ellipsis", no_wrap=True)
        table.add_row(f"[{source['number']}]", source["filename"], f"{source['score']:.2f}", passage)
    return table


def seconds_table(about: Mapping[str, Any]) -> Table:
    """A table with one bar for each step, on the time axis of the request."""
    whole = max(about["seconds"], 1e-9)
    title = f"steps, {about['seconds']:.2f} s"
    table = Table("step", "model", "seconds", Column(no_wrap=True), box=None, title=title, title_justify="left")
    for step in about["steps"]:
        before = min(round(BAR_WIDTH * step["start"] / whole), BAR_WIDTH - 1)
        length = min(max(1, round(BAR_WIDTH * step["seconds"] / whole)), BAR_WIDTH - before)
        note = f" degraded: {step['error']}" if step["error"] else " cached" if step["cached"] else ""
        bar = Text(" " * before + "█" * length, style="red" if step["error"] else "cyan").append(note)
        table.add_row(step["name"], step["model"], f"{step['seconds']:.2f}", bar)
    return table


def read_file(path: Path) -> bytes:
    """Read a file; raises FleetError if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise FleetError(f"cannot read {path}: {error.strerror}") from error


def _base64(path: Path) -> str:
    return base64.b64encode(read_file(path)).decode()


def _mime_type(path: Path, default: str) -> str:
    return mimetypes.guess_type(path.name)[0] or default
