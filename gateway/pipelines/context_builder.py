"""The context of a chat: the texts of its media and the passages of its vector stores, all requested concurrently."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

from polyphony.gateway.v1.gateway_pb2 import ChatRequest, FileSearch
from polyphony.retrieval.v1.retrieval_pb2 import ScoredPoint, SearchRequest
from polyphony.speech.v1.transcription_pb2 import TranscribeRequest
from polyphony.type.v1.chat_pb2 import ContentPart
from polyphony.type.v1.media_pb2 import Media
from polyphony.vision.v1.vision_pb2 import ReadTextRequest

from gateway.clients import Clients
from gateway.media.cache import ResultCache
from gateway.media.resolver import MediaResolver, content_address, parse_media_source
from gateway.pipelines.prompt import ExtractedText, PartIndex
from gateway.pipelines.steps import StepRecorder
from gateway.records import Records
from gateway.schemas.report import Source, Step
from gateway.settings import GatewaySettings
from gateway.streams import completed
from servekit.context import current
from servekit.errors import ServeError
from servekit.media.scripts import join

# Lines with a lower confidence are left out: a misread line misleads a small model more than a missing one.
MIN_LINE_CONFIDENCE = 0.65
MediaKind = Literal["image", "audio"]
MEDIA_TASKS: Mapping[MediaKind, Literal["read_text", "transcribe"]] = {"image": "read_text", "audio": "transcribe"}


class ContextBuilder:
    """Extracts the texts of images and recordings and searches vector stores, within a share of the deadline.

    Args:
        clients: The services.
        media_resolver: Fetches media from their addresses.
        records: The vector stores.
        cache: The texts of media that were sent before.
        settings: Bounds and shares of the deadline.
    """

    def __init__(
        self,
        clients: Clients,
        media_resolver: MediaResolver,
        records: Records,
        cache: ResultCache,
        settings: GatewaySettings,
    ) -> None:
        self._clients, self._media_resolver, self._records = clients, media_resolver, records
        self._cache, self._settings = cache, settings

    async def build(
        self, request: ChatRequest, models: Mapping[str, str], recorder: StepRecorder
    ) -> tuple[dict[PartIndex, ExtractedText], list[Source] | None]:
        """Extract and search concurrently; what fails or is late is left out.

        Args:
            request: The request.
            models: The id of the model of each task that the request needs.
            recorder: Records the steps.

        Returns:
            The text of each media part, and the passages found; None where nothing was searched.

        Raises:
            ServeError: The request is invalid, or nothing is left of the last message.
        """
        remaining = current().cancellation.remaining_seconds()
        until = time.monotonic() + remaining * self._settings.context_timeout_fraction
        parts = {
            (index, part_index): part
            for index, message in enumerate(request.messages)
            for part_index, part in enumerate(message.parts)
        }
        last = [index for index in parts if index[0] == len(request.messages) - 1]
        tasks: dict[PartIndex, asyncio.Task[ExtractedText]] = {}
        search: asyncio.Task[list[Source] | None] | None = None
        try:
            async with asyncio.TaskGroup() as group:
                for kind, task in MEDIA_TASKS.items():
                    same = [index for index, part in parts.items() if part.HasField(kind)]
                    for number, index in enumerate(same, 1):
                        name = f"{task} {number}" if len(same) > 1 else task
                        field = f"messages[{index[0]}].parts[{index[1]}].{kind}"
                        media: Media = getattr(parts[index], kind)
                        tasks[index] = group.create_task(
                            self._extract(kind, models[task], media, field, name, until, recorder)
                        )
                        await asyncio.sleep(0)  # one after the other: together they would stop the event loop
                if request.HasField("file_search"):
                    question = [tasks.get(index, parts[index]) for index in last]
                    search = group.create_task(
                        self._search(request.file_search, models["embed"], question, until, recorder)
                    )
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from errors
        extracted = {index: done.result() for index, done in tasks.items()}
        if recorder.failures and all(index in extracted and extracted[index].text is None for index in last):
            raise recorder.failures[0]
        return extracted, search.result() if search is not None else None

    async def _extract(
        self, kind: MediaKind, model: str, media: Media, field: str, name: str, until: float, recorder: StepRecorder
    ) -> ExtractedText:
        """The text of an image or a recording."""
        limit = self._settings.max_image_bytes if kind == "image" else self._settings.max_audio_bytes

        async def work(step: Step) -> str:
            tenant = current().tenant
            source = parse_media_source(media.uri, field) if media.HasField("uri") else media
            resolved = await self._media_resolver.resolve(source, tenant, limit, field)
            key = (tenant, model, await content_address(resolved))
            text = self._cache.get(key)
            step.cached = text is not None
            if text is None:
                text = await (self._read_text if kind == "image" else self._transcribe)(resolved, model)
                self._cache.put(key, text)
            return text

        try:
            return ExtractedText(kind, await recorder.run_optional(name, model, until, work))
        except ServeError as error:
            error.field = field
            raise

    async def _read_text(self, image: Media, model: str) -> str:
        response = await self._clients.vision.ReadText(
            ReadTextRequest(image=image, model=model, min_confidence=MIN_LINE_CONFIDENCE)
        )
        return "\n".join(line.text for line in response.lines)

    async def _transcribe(self, audio: Media, model: str) -> str:
        events = completed(
            self._clients.transcription.Transcribe(TranscribeRequest(audio=audio, model=model)), "transcription"
        )
        return join([event.segment.text async for event in events if event.HasField("segment")])

    async def _search(
        self,
        search: FileSearch,
        model: str,
        parts: Sequence[ContentPart | asyncio.Task[ExtractedText]],
        until: float,
        recorder: StepRecorder,
    ) -> list[Source] | None:
        """The passages nearest to the question: the text parts and the transcripts of the last message."""
        tenant = current().tenant
        for store_id in search.vector_store_ids:
            await self._records.vector_store(tenant, store_id, "file_search.vector_store_ids")
        known = [await part if isinstance(part, asyncio.Task) else part for part in parts]
        texts = [part.text for part in known if isinstance(part, ContentPart) or part.kind == "audio"]
        question = join(text for text in texts if text is not None)
        if not question:
            return None
        limit = search.max_results or self._settings.default_passages

        async def one(store_id: str) -> list[Source]:
            found = await self._clients.retrieval.Search(SearchRequest(collection=store_id, text=question, limit=limit))
            return [_source(store_id, hit) for hit in found.points]

        async def work(_: Step) -> list[Source]:
            found = await asyncio.gather(*(one(store_id) for store_id in search.vector_store_ids))
            best = sorted((source for sources in found for source in sources), key=lambda s: -s.score)[:limit]
            return [replace(source, number=number) for number, source in enumerate(best, 1)]

        return await recorder.run_optional("search", model, until, work)


def _source(store_id: str, hit: ScoredPoint) -> Source:
    """The source of a search hit, not yet numbered."""
    about = hit.point.metadata
    return Source(0, store_id, str(about["file_id"]), str(about["filename"]), hit.point.text, hit.score)
