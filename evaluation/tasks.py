"""The canary's tasks: what each sends, and how it scores the answers."""

import mimetypes
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar

from client.errors import value_at
from client.gateway import GatewayClient
from evaluation import metrics
from evaluation.canary_set import FOLDER, CanaryItem, CanarySet, ChatItem, MediaItem, SearchItem, SearchSet, SpeechItem

STORE = "polyphony-canary"
EXPIRES_SECONDS = 3600  # after which resources of a killed run are deleted
MAX_TOKENS = 24  # of one answer


class CanaryTask(ABC):
    """One task of the canary.

    Attributes:
        name: The label `task` of the gauges.
        items: The items to send.
    """

    name: ClassVar[str]
    items: Sequence[CanaryItem]

    @asynccontextmanager
    async def ready(self, gateway: GatewayClient) -> AsyncIterator[None]:  # noqa: ARG002
        """A context with the resources of the task; none by default."""
        yield

    @abstractmethod
    async def ask(self, gateway: GatewayClient, item: Any) -> Any:
        """The answer to one item."""

    @abstractmethod
    def marks(self, items: Sequence[Any], answers: Sequence[Any]) -> Mapping[str, float]:
        """Each metric over the answers, of which there is at least one."""


class TranscribeCanary(CanaryTask):
    """Recordings are transcribed."""

    name = "transcribe"

    def __init__(self, items: Sequence[MediaItem]) -> None:
        self.items = items

    async def ask(self, gateway: GatewayClient, item: MediaItem) -> str:
        return str(value_at(await gateway.transcribe((FOLDER / item.file).read_bytes(), item.file), "text"))

    def marks(self, items: Sequence[MediaItem], answers: Sequence[str]) -> Mapping[str, float]:
        said = [item.text for item in items]
        characters = [metrics.spoken(text) for text in said], [metrics.spoken(text) for text in answers]
        return {
            "word_error_rate": metrics.word_error_rate(said, answers),
            "character_error_rate": metrics.character_error_rate(*characters),
        }


class ReadTextCanary(CanaryTask):
    """Images of text are read."""

    name = "read_text"

    def __init__(self, items: Sequence[MediaItem]) -> None:
        self.items = items

    async def ask(self, gateway: GatewayClient, item: MediaItem) -> str:
        mime_type, _ = mimetypes.guess_type(item.file)
        return await gateway.read_text((FOLDER / item.file).read_bytes(), mime_type or "image/png")

    def marks(self, items: Sequence[MediaItem], answers: Sequence[str]) -> Mapping[str, float]:
        printed, found = [metrics.written(item.text) for item in items], [metrics.written(text) for text in answers]
        return {"character_error_rate": metrics.character_error_rate(printed, found)}


class SearchCanary(CanaryTask):
    """Passages are searched by paraphrased questions."""

    name = "search"

    def __init__(self, search: SearchSet) -> None:
        self.items = search.queries
        self._search = search
        self._store_id = ""

    @asynccontextmanager
    async def ready(self, gateway: GatewayClient) -> AsyncIterator[None]:
        await _delete_leftovers(gateway)
        files = {name: text.encode() for name, text in self._search.passages.items()}
        async with gateway.vector_store(STORE, files, EXPIRES_SECONDS) as self._store_id:
            yield

    async def ask(self, gateway: GatewayClient, item: SearchItem) -> list[str]:
        return await gateway.search(self._store_id, item.question, self._search.k)

    def marks(self, items: Sequence[SearchItem], answers: Sequence[list[str]]) -> Mapping[str, float]:
        return {"recall": metrics.recall([{item.passage} for item in items], answers, self._search.k)}


class ChatCanary(CanaryTask):
    """Questions are answered from a context."""

    name = "chat"

    def __init__(self, items: Sequence[ChatItem]) -> None:
        self.items = items

    async def ask(self, gateway: GatewayClient, item: ChatItem) -> str:
        messages = [{"role": "system", "content": item.context}, {"role": "user", "content": item.question}]
        return await gateway.chat(messages, MAX_TOKENS)

    def marks(self, items: Sequence[ChatItem], answers: Sequence[str]) -> Mapping[str, float]:
        return {"accuracy": metrics.accuracy([item.any_of for item in items], answers)}


class SpeechCanary(CanaryTask):
    """Texts are synthesized and transcribed: errors of both count."""

    name = "speak"

    def __init__(self, items: Sequence[SpeechItem]) -> None:
        self.items = items

    async def ask(self, gateway: GatewayClient, item: SpeechItem) -> str:
        return str(value_at(await gateway.transcribe(await gateway.speak(item.text), "spoken.wav"), "text"))

    def marks(self, items: Sequence[SpeechItem], answers: Sequence[str]) -> Mapping[str, float]:
        return {"word_error_rate": metrics.word_error_rate([item.text for item in items], answers)}


async def _delete_leftovers(gateway: GatewayClient) -> None:
    """Delete vector stores of killed runs; their files expire."""
    for store in value_at(await gateway.json("GET", "/v1/vector_stores"), "data"):
        if value_at(store, "name") == STORE and time.time() - value_at(store, "created_at") > EXPIRES_SECONDS:
            await gateway.send("DELETE", f"/v1/vector_stores/{value_at(store, 'id')}")


def tasks(canary: CanarySet) -> tuple[CanaryTask, ...]:
    """Every task, in order."""
    return (
        TranscribeCanary(canary.transcribe),
        ReadTextCanary(canary.read_text),
        SearchCanary(canary.search),
        ChatCanary(canary.chat),
        SpeechCanary(canary.speak),
    )
