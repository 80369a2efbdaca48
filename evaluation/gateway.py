"""The fleet as any caller sees it: what the canary asks of the gateway, over HTTP."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx

STORE = "polyphony-canary"
KEPT_SECONDS = 3600  # a canary that was killed leaves its files and its store; after this they go
UPLOAD = {
    "purpose": "assistants",
    "expires_after[anchor]": "created_at",
    "expires_after[seconds]": str(KEPT_SECONDS),
}
RETRYABLE = (429, 503)
MAX_TOKENS = 24


class Unanswered(Exception):
    """A call had no answer; the text says why."""


class Gateway:
    """One gateway. Every call has one deadline, its one retry included.

    Args:
        http: With the gateway's address as base, and its key.
        seconds: The deadline of a call.
    """

    def __init__(self, http: httpx.AsyncClient, seconds: float) -> None:
        self._http, self._seconds = http, seconds

    async def transcribe(self, sound: bytes, filename: str) -> str:
        """The words of a recording."""
        answer = await self.ask("POST", "/v1/audio/transcriptions", files={"file": (filename, sound)})
        return str(at(answer, "text"))

    async def read_text(self, image: bytes, mime_type: str) -> str:
        """The text of a picture, line by line."""
        headers = {"content-type": mime_type}
        return str(at(await self.ask("POST", "/v1/vision/read", content=image, headers=headers), "text"))

    async def speak(self, text: str) -> bytes:
        """A text as a WAV file."""
        body = {"input": text, "response_format": "wav"}
        return (await self.send("POST", "/v1/audio/speech", json=body)).content

    async def chat(self, context: str, question: str) -> str:
        """A short answer from a context, the likeliest one."""
        messages = [{"role": "system", "content": context}, {"role": "user", "content": question}]
        body = {"messages": messages, "temperature": 0, "max_completion_tokens": MAX_TOKENS}
        return str(at(await self.ask("POST", "/v1/chat/completions", json=body), "choices", 0, "message", "content"))

    @asynccontextmanager
    async def vector_store(self, passages: Mapping[str, str]) -> AsyncIterator[str]:
        """A vector store of one file a passage, named after it; all deleted at the end of the block."""
        await self._sweep()
        made: list[str] = []
        try:
            file_ids = []
            for name, text in passages.items():
                files = {"file": (name, text.encode(), "text/plain")}
                file_ids.append(str(at(await self.ask("POST", "/v1/files", files=files, data=UPLOAD), "id")))
                made.append(f"/v1/files/{file_ids[-1]}")
            body = {"name": STORE, "file_ids": file_ids}
            store_id = str(at(await self.ask("POST", "/v1/vector_stores", json=body), "id"))
            made.append(f"/v1/vector_stores/{store_id}")
            yield store_id
        finally:
            for path in reversed(made):
                with suppress(Unanswered):  # it expires, or the next canary sweeps it
                    await self.send("DELETE", path)

    async def search(self, store_id: str, question: str, k: int) -> list[str]:
        """The names of the first k passages, best first."""
        body = {"query": question, "max_num_results": k}
        found = at(await self.ask("POST", f"/v1/vector_stores/{store_id}/search", json=body), "data")
        return [str(at(passage, "filename")) for passage in found]

    async def _sweep(self) -> None:
        """Delete the stores of canaries that were killed."""
        for store in at(await self.ask("GET", "/v1/vector_stores"), "data"):
            if at(store, "name") == STORE and time.time() - at(store, "created_at") > KEPT_SECONDS:
                await self.send("DELETE", f"/v1/vector_stores/{at(store, 'id')}")

    async def ask(self, method: str, path: str, **options: Any) -> Any:
        """What a call answers, as JSON says it."""
        response = await self.send(method, path, **options)
        try:
            return response.json()
        except ValueError as error:
            raise Unanswered(f"{method} {path} does not answer in JSON") from error

    async def send(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One call, made once more if the gateway says when.

        Raises:
            Unanswered: It is refused, fails, or takes too long.
        """
        try:
            async with asyncio.timeout(self._seconds):
                response = await self._http.request(method, path, **options)
                if response.status_code in RETRYABLE:
                    await asyncio.sleep(_retry_after(response))
                    response = await self._http.request(method, path, **options)
        except TimeoutError as error:
            raise Unanswered(f"no answer within {self._seconds:g} s") from error
        except httpx.HTTPError as error:
            raise Unanswered(f"the gateway does not answer: {error or type(error).__name__}") from error
        if not response.is_success:
            raise Unanswered(f"{response.status_code}: {_refusal(response)}")
        return response


def at(value: Any, *path: str | int) -> Any:
    """What stands at a path of an answer."""
    try:
        for step in path:
            value = value[step]
    except (LookupError, TypeError) as error:
        raise Unanswered(f"the answer has no {'.'.join(map(str, path))}") from error
    return value


def _refusal(response: httpx.Response) -> str:
    try:
        return str(at(response.json(), "error", "message"))
    except (ValueError, Unanswered):
        return response.reason_phrase


def _retry_after(response: httpx.Response) -> float:
    try:
        return float(response.headers["retry-after"])
    except (KeyError, ValueError):
        return 1.0
