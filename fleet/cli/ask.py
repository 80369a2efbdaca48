"""`polyphony ask`: an ordinary client of the gateway, which shows where each second went."""

import base64
import json
import mimetypes
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from rich.table import Column, Table
from rich.text import Text

from fleet.cli.errors import FleetError
from fleet.runner import state
from fleet.settings import FleetSettings

BAR_WIDTH = 28


@dataclass(frozen=True)
class Question:
    """What is asked.

    Attributes:
        text: The words; may be empty where a recording asks.
        images: Pictures to read.
        recordings: Recordings to hear.
        documents: Text files to search for the answer.
        model: A model id; empty for the default.
        speak: Where to write the spoken answer, whose suffix is its format; None for text alone.
    """

    text: str
    images: Sequence[Path] = ()
    recordings: Sequence[Path] = ()
    documents: Sequence[Path] = ()
    model: str = ""
    speak: Path | None = None


class Gateway:
    """The gateway of this home, or the one that the settings name. Use as a context.

    Args:
        settings: The address and the key.

    Raises:
        FleetError: No fleet runs here and no address is set.
    """

    def __init__(self, settings: FleetSettings) -> None:
        self.url = settings.url or state.read(settings.run_dir).url
        key = settings.api_key.get_secret_value()
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._http = httpx.Client(base_url=self.url, headers=headers, timeout=httpx.Timeout(300.0, connect=5.0))

    def __enter__(self) -> "Gateway":
        return self

    def __exit__(self, *unused: object) -> None:
        self._http.close()

    @contextmanager
    def vector_store(self, documents: Sequence[Path]) -> Iterator[str]:
        """A vector store of these text files, deleted with them at the end of the block."""
        file_ids: list[str] = []
        store_id = ""
        try:
            for path in documents:
                files = {"file": (path.name, _bytes(path), _mime_type(path, "text/plain"))}
                uploaded = self._call("POST", "/v1/files", files=files, data={"purpose": "assistants"})
                file_ids.append(uploaded["id"])
            store_id = self._call("POST", "/v1/vector_stores", json={"name": "ask", "file_ids": file_ids})["id"]
            yield store_id
        finally:
            if store_id:
                self._call("DELETE", f"/v1/vector_stores/{store_id}")
            for file_id in file_ids:
                self._call("DELETE", f"/v1/files/{file_id}")

    def ask(self, question: Question, store_id: str, show: Callable[[str], None]) -> dict[str, Any]:
        """Ask, and give each piece of the answer to `show` as it comes.

        Returns:
            The answer's `polyphony` object: steps, seconds, models, sources, degraded.

        Raises:
            FleetError: The gateway refuses, or the answer breaks off.
        """
        sound = bytearray()
        about: dict[str, Any] = {}
        with self._open("POST", "/v1/chat/completions", json=body(question, store_id)) as response:
            for chunk in _events(response):
                about = chunk.get("polyphony", about)
                for choice in chunk["choices"]:
                    show(choice["delta"].get("content") or "")
                    sound += base64.b64decode(choice["delta"].get("audio", {}).get("data", ""))
        if not about:
            raise FleetError("the answer broke off")
        if question.speak and sound:
            question.speak.write_bytes(sound)
        return about

    def hear(self, path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
        """What is said in a recording, as verbose_json with its words, and who speaks when.

        Raises:
            FleetError: The gateway refuses, or the file cannot be read.
        """
        files = {"file": (path.name, _bytes(path), _mime_type(path, "audio/wav"))}
        words = {"response_format": "verbose_json", "timestamp_granularities[]": ["word", "segment"]}
        transcript = self._call("POST", "/v1/audio/transcriptions", files=files, data=words)
        return transcript, self._call("POST", "/v1/audio/diarize", files=files)

    def _call(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        with self._open(method, path, **options) as response:
            answer: dict[str, Any] = json.loads(response.read())
            return answer

    @contextmanager
    def _open(self, method: str, path: str, **options: Any) -> Iterator[httpx.Response]:
        try:
            with self._http.stream(method, path, **options) as response:
                if response.is_error:
                    response.read()
                    raise FleetError(_refusal(response))
                yield response
        except httpx.HTTPError as error:
            raise FleetError(f"the gateway at {self.url} does not answer: {error or type(error).__name__}") from error


def body(question: Question, store_id: str) -> dict[str, Any]:
    """The question as OpenAI's chat completions take it; `store_id` may be empty."""
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
    """The passages that the answer could draw on, by the numbers that it cites."""
    table = Table("", "source", "score", "passage", box=None, title="sources", title_justify="left")
    for source in sources:
        passage = Text(" ".join(source["text"].split()), overflow="ellipsis", no_wrap=True)
        table.add_row(f"[{source['number']}]", source["filename"], f"{source['score']:.2f}", passage)
    return table


def seconds_table(about: Mapping[str, Any]) -> Table:
    """One bar a step on the request's own clock: where each second went."""
    whole = max(about["seconds"], 1e-9)
    title = f"where {about['seconds']:.2f} s went"
    table = Table("step", "model", "seconds", Column(no_wrap=True), box=None, title=title, title_justify="left")
    for step in about["steps"]:
        before = min(round(BAR_WIDTH * step["start"] / whole), BAR_WIDTH - 1)
        length = min(max(1, round(BAR_WIDTH * step["seconds"] / whole)), BAR_WIDTH - before)
        note = f" left out: {step['error']}" if step["error"] else " from the cache" if step["cached"] else ""
        bar = Text(" " * before + "█" * length, style="red" if step["error"] else "cyan").append(note)
        table.add_row(step["name"], step["model"], f"{step['seconds']:.2f}", bar)
    return table


def _events(response: httpx.Response) -> Iterator[dict[str, Any]]:
    for line in response.iter_lines():
        if not line.startswith("data: ") or line == "data: [DONE]":
            continue
        event: dict[str, Any] = json.loads(line.removeprefix("data: "))
        if "error" in event:
            raise FleetError(f"the answer broke off: {event['error']['message']}")
        yield event


def _refusal(response: httpx.Response) -> str:
    try:
        error = response.json()["error"]
        at = f" ({error['param']})" if error.get("param") else ""
        return f"the gateway refused: {error['message']}{at}"
    except (ValueError, KeyError, TypeError):
        return f"the gateway answered {response.status_code} {response.reason_phrase}"


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise FleetError(f"{path} could not be read: {error.strerror}") from error


def _base64(path: Path) -> str:
    return base64.b64encode(_bytes(path)).decode()


def _mime_type(path: Path, default: str) -> str:
    return mimetypes.guess_type(path.name)[0] or default
