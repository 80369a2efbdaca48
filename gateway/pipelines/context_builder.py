"""What the media of a conversation say, and what its vector stores hold of the question: all asked for at once."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

from polyphony.retrieval.v1.retrieval_pb2 import ScoredPoint, SearchRequest
from polyphony.speech.v1.speech_pb2 import TranscribeRequest
from polyphony.type.v1.media_pb2 import Media
from polyphony.vision.v1.vision_pb2 import ReadTextRequest

from gateway.clients import Clients
from gateway.media.cache import ResultCache
from gateway.media.resolver import MediaResolver, content_address
from gateway.models import ModelDirectory
from gateway.pipelines.conversation import ChatPlan, FileSearch, Medium, Source
from gateway.pipelines.prompt import ExtractedText, ResolvedMessage
from gateway.pipelines.steps import Step, StepRecorder
from gateway.records import Records
from gateway.settings import GatewaySettings
from gateway.streams import completed
from servekit.media.scripts import join
from servekit.rpc.context import current
from servekit.rpc.errors import ServeError

# Confidence below which a line is left out: a misread line misleads a small model more than a missing one.
LEGIBLE = 0.65
_TASKS: Mapping[str, Literal["read_text", "transcribe"]] = {"image": "read_text", "recording": "transcribe"}


class ContextBuilder:
    """Reads images, hears recordings and searches vector stores, within a share of the deadline.

    Args:
        clients: The services.
        desk: Gets media from where they are.
        records: The vector stores there are.
        models: What each model is called.
        cache: Texts of media that were sent before.
        settings: Bounds and shares.
    """

    def __init__(
        self,
        clients: Clients,
        media_resolver: MediaResolver,
        records: Records,
        models: ModelDirectory,
        cache: ResultCache,
        settings: GatewaySettings,
    ) -> None:
        self._clients, self._media_resolver, self._records, self._models = clients, media_resolver, records, models
        self._cache, self._settings = cache, settings

    async def of(self, plan: ChatPlan, recorder: StepRecorder) -> tuple[list[ResolvedMessage], list[Source] | None]:
        """Read, hear and search, all at once; what fails or is late is left out.

        Returns:
            The turns, and what the search found; None where nothing was searched.

        Raises:
            ServeError: The request is wrong, or nothing of the last turn is left to answer.
        """
        left = current().cancellation.remaining_seconds()
        until = time.monotonic() + left * self._settings.branch_share
        media = [part for turn in plan.turns for part in turn.parts if isinstance(part, Medium)]
        tasks: dict[int, asyncio.Task[ExtractedText]] = {}
        search: asyncio.Task[list[Source] | None] | None = None
        try:
            async with asyncio.TaskGroup() as group:
                for kind in ("image", "recording"):
                    same = [medium for medium in media if medium.kind == kind]
                    for number, medium in enumerate(same, 1):
                        name = f"{_TASKS[kind]} {number}" if len(same) > 1 else _TASKS[kind]
                        tasks[id(medium)] = group.create_task(self._read(medium, name, until, recorder))
                if plan.search is not None:
                    last = [tasks.get(id(part), part) for part in plan.turns[-1].parts]
                    search = group.create_task(self._search(plan.search, last, until, recorder))
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from errors
        turns = [
            ResolvedMessage(
                turn.role, [tasks[id(part)].result() if isinstance(part, Medium) else part for part in turn.parts]
            )
            for turn in plan.turns
        ]
        lost = all(isinstance(part, ExtractedText) and part.text is None for part in turns[-1].parts)
        if lost and recorder.failures:
            raise recorder.failures[0]
        return turns, search.result() if search is not None else None

    async def _read(self, medium: Medium, name: str, until: float, recorder: StepRecorder) -> ExtractedText:
        """What an image or a recording says."""
        model = self._models.default(_TASKS[medium.kind]).id
        bound = self._settings.image_bytes if medium.kind == "image" else self._settings.audio_bytes

        async def work(step: Step) -> str:
            tenant = current().tenant
            media = await self._media_resolver.resolve(medium.located, tenant, bound, medium.field)
            key = (tenant, model, content_address(media))
            text = self._cache.get(key)
            step.cached = text is not None
            if text is None:
                text = await (self._read_text if medium.kind == "image" else self._transcribe)(media, model)
                self._cache.put(key, text)
            return text

        try:
            return ExtractedText(medium.kind, await recorder.run_optional(name, model, until, work))
        except ServeError as error:
            error.field = medium.field
            raise

    async def _read_text(self, image: Media, model: str) -> str:
        response = await self._clients.vision.ReadText(
            ReadTextRequest(image=image, model=model, min_confidence=LEGIBLE)
        )
        return "\n".join(line.text for line in response.lines)

    async def _transcribe(self, audio: Media, model: str) -> str:
        events = completed(
            self._clients.speech.Transcribe(TranscribeRequest(audio=audio, model=model)), "transcription"
        )
        return join([event.segment.text async for event in events if event.HasField("segment")])

    async def _search(
        self, search: FileSearch, last: Sequence[object], until: float, recorder: StepRecorder
    ) -> list[Source] | None:
        """The passages nearest to the question, which may have to be heard first."""
        tenant = current().tenant
        for store_id in search.store_ids:
            await self._records.store(tenant, store_id, "tools[0].vector_store_ids")
        heard = [await part if isinstance(part, asyncio.Task) else part for part in last]
        words = [part.text if isinstance(part, ExtractedText) and part.kind == "recording" else part for part in heard]
        question = join(word for word in words if isinstance(word, str))
        if not question:
            return None
        limit = search.limit or self._settings.passages

        async def one(store_id: str) -> list[Source]:
            found = await self._clients.retrieval.Search(SearchRequest(collection=store_id, text=question, limit=limit))
            return [_source(store_id, hit) for hit in found.points]

        async def work(_: Step) -> list[Source]:
            found = await asyncio.gather(*(one(store_id) for store_id in search.store_ids))
            best = sorted((source for sources in found for source in sources), key=lambda s: -s.score)[:limit]
            return [replace(source, number=number) for number, source in enumerate(best, 1)]

        return await recorder.run_optional("search", self._models.default("embed").id, until, work)


def _source(store_id: str, hit: ScoredPoint) -> Source:
    """A passage that was found, its number still open."""
    about = hit.point.metadata
    return Source(0, store_id, str(about["file_id"]), str(about["filename"]), hit.point.text, hit.score)
