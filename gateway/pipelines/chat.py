"""The composed chat: images read, recordings heard and stores searched at once, then one answer from it all."""

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Literal

from polyphony.generation.v1.generation_pb2 import GenerateTextRequest, TextFinished, TextMessage
from polyphony.retrieval.v1.retrieval_pb2 import SearchRequest
from polyphony.speech.v1.speech_pb2 import SynthesizeRequest, TranscribeRequest
from polyphony.type.v1.media_pb2 import Media
from polyphony.vision.v1.vision_pb2 import ReadTextRequest

from gateway.auth import Caller
from gateway.cache import ResultCache
from gateway.clients import Clients
from gateway.media import MediaDesk, address
from gateway.models import ModelDirectory
from gateway.pipelines.conversation import (
    ChatPlan,
    Delta,
    Event,
    FileSearch,
    Finished,
    Medium,
    Sound,
    Source,
    Spoken,
)
from gateway.pipelines.steps import Journal, Step
from gateway.prompt import Passage, PromptTemplate, ReadTurn, Understood
from gateway.records import Records
from gateway.settings import GatewaySettings
from servekit.call import current
from servekit.errors import InvalidArgument, ServeError, TooLarge, Unavailable

_TASKS: Mapping[str, Literal["read_text", "transcribe"]] = {"image": "read_text", "recording": "transcribe"}
LEGIBLE = (
    0.65  # confidence below which a line is left out: a misread line misleads a small model more than a missing one
)
_REASONS = {TextFinished.REASON_LENGTH: "length"}


class ChatPipeline:
    """Answers conversations.

    Args:
        clients: The services.
        desk: Gets media from where they are.
        records: The vector stores there are.
        models: What each model is called.
        cache: Texts of media that were sent before.
        template: How all of it becomes a prompt.
        settings: Bounds and shares.
    """

    def __init__(
        self,
        clients: Clients,
        desk: MediaDesk,
        records: Records,
        models: ModelDirectory,
        cache: ResultCache,
        template: PromptTemplate,
        settings: GatewaySettings,
    ) -> None:
        self._clients, self._desk, self._records, self._models = clients, desk, records, models
        self._cache, self._template, self._settings = cache, template, settings

    async def run(self, plan: ChatPlan, caller: Caller) -> AsyncGenerator[Event]:
        """Answer, event by event: steps, deltas of text, sound, and `Finished` at the end.

        Raises:
            ServeError: The request is wrong, or nothing is left to answer, or the model fails.
        """
        model = self._models.resolve("generate_text", plan.model, caller)
        self._check(plan)
        journal = Journal()
        turns, sources = await self._understand(plan, journal)
        for step in journal.steps:
            yield step
        passages = sources if sources is None else [Passage(s.number, s.filename, s.text) for s in sources]
        finished = Finished(model, self._template.version, sources or ())
        text = ""
        with journal.step("generate_text", model) as step:
            async with aclosing(self._generate(plan, self._template.render(turns, passages), finished)) as deltas:
                async for delta in deltas:
                    text += delta.text
                    yield delta
        yield step
        if plan.spoken is not None and text.strip():
            with journal.step("synthesize", self._models.default("synthesize").id) as step:
                async with aclosing(self._speak(plan.spoken, text, step, journal)) as sounds:
                    async for sound in sounds:
                        yield sound
            yield step
        finished.seconds, finished.steps, finished.degraded = journal.seconds, journal.steps, journal.degraded
        yield finished

    def _check(self, plan: ChatPlan) -> None:
        """Refuse at once what no model could answer."""
        if not plan.turns or plan.turns[-1].role != "user":
            raise InvalidArgument("the last message has to be the user's", field="messages")
        if not plan.turns[-1].parts:
            raise InvalidArgument("the last message is empty", field=f"messages[{len(plan.turns) - 1}].content")
        parts = [part for turn in plan.turns for part in turn.parts]
        if sum(len(part) for part in parts if isinstance(part, str)) > self._settings.chat_characters:
            bound = self._settings.chat_characters
            raise TooLarge(f"the conversation has more than {bound} characters of text", field="messages")
        if sum(isinstance(part, Medium) for part in parts) > self._settings.media_parts:
            bound = self._settings.media_parts
            raise TooLarge(f"the conversation has more than {bound} images and recordings", field="messages")

    async def _understand(self, plan: ChatPlan, journal: Journal) -> tuple[list[ReadTurn], list[Source] | None]:
        """Read, hear and search, all at once; what fails or is late is left out."""
        left = current().flag.remaining()
        until = time.monotonic() + left * self._settings.branch_share
        media = [part for turn in plan.turns for part in turn.parts if isinstance(part, Medium)]
        tasks: dict[int, asyncio.Task[Understood]] = {}
        search: asyncio.Task[list[Source] | None] | None = None
        try:
            async with asyncio.TaskGroup() as group:
                for kind in ("image", "recording"):
                    same = [medium for medium in media if medium.kind == kind]
                    for number, medium in enumerate(same, 1):
                        name = f"{_TASKS[kind]} {number}" if len(same) > 1 else _TASKS[kind]
                        tasks[id(medium)] = group.create_task(self._read(medium, name, until, journal))
                if plan.search is not None:
                    last = [tasks.get(id(part), part) for part in plan.turns[-1].parts]
                    search = group.create_task(self._search(plan.search, last, until, journal))
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from errors
        turns = [
            ReadTurn(turn.role, [tasks[id(part)].result() if isinstance(part, Medium) else part for part in turn.parts])
            for turn in plan.turns
        ]
        lost = all(isinstance(part, Understood) and part.text is None for part in turns[-1].parts)
        if lost and journal.failures:
            raise journal.failures[0]
        return turns, search.result() if search is not None else None

    async def _read(self, medium: Medium, name: str, until: float, journal: Journal) -> Understood:
        """What an image or a recording says."""
        model = self._models.default(_TASKS[medium.kind]).id
        bound = self._settings.image_bytes if medium.kind == "image" else self._settings.audio_bytes

        async def work(step: Step) -> str:
            tenant = current().tenant
            media = await self._desk.media(medium.located, tenant, bound, medium.field)
            key = (tenant, model, address(media))
            text = self._cache.get(key)
            step.cached = text is not None
            if text is None:
                text = await (self._read_text if medium.kind == "image" else self._transcribe)(media, model)
                self._cache.put(key, text)
            return text

        try:
            return Understood(medium.kind, await journal.attempt(name, model, until, work))
        except ServeError as error:
            error.field = medium.field
            raise

    async def _read_text(self, image: Media, model: str) -> str:
        response = await self._clients.vision.ReadText(
            ReadTextRequest(image=image, model=model, min_confidence=LEGIBLE)
        )
        return "\n".join(line.text for line in response.lines)

    async def _transcribe(self, audio: Media, model: str) -> str:
        events = self._clients.speech.Transcribe(TranscribeRequest(audio=audio, model=model))
        return " ".join([event.segment.text.strip() async for event in events if event.HasField("segment")])

    async def _search(
        self, search: FileSearch, last: Sequence[object], until: float, journal: Journal
    ) -> list[Source] | None:
        """The passages nearest to the question, which may have to be heard first."""
        tenant = current().tenant
        for store_id in search.store_ids:
            await self._records.store(tenant, store_id, "tools[0].vector_store_ids")
        heard = [await part if isinstance(part, asyncio.Task) else part for part in last]
        words = [part.text if isinstance(part, Understood) and part.kind == "recording" else part for part in heard]
        question = " ".join(word for word in words if isinstance(word, str) and word)
        if not question.strip():
            return None
        limit = search.limit or self._settings.passages

        async def one(store_id: str) -> list[Source]:
            found = await self._clients.retrieval.Search(SearchRequest(collection=store_id, text=question, limit=limit))
            return [
                Source(
                    0,
                    store_id,
                    str(hit.point.metadata["file_id"]),
                    str(hit.point.metadata["filename"]),
                    hit.point.text,
                    hit.score,
                )
                for hit in found.points
            ]

        async def work(_: Step) -> list[Source]:
            found = await asyncio.gather(*(one(store_id) for store_id in search.store_ids))
            best = sorted((source for sources in found for source in sources), key=lambda s: -s.score)[:limit]
            return [
                Source(number, s.store_id, s.file_id, s.filename, s.text, s.score) for number, s in enumerate(best, 1)
            ]

        return await journal.attempt("search", self._models.default("embed").id, until, work)

    async def _generate(
        self, plan: ChatPlan, messages: Sequence[TextMessage], finished: Finished
    ) -> AsyncGenerator[Delta]:
        request = GenerateTextRequest(
            messages=messages,
            model=finished.model,
            max_tokens=plan.max_tokens,
            stop=plan.stop,
            temperature=plan.temperature,
            top_p=plan.top_p,
            seed=plan.seed,
            format=plan.format,
        )
        complete = False
        try:
            async for event in self._clients.generation.GenerateText(request):
                if event.HasField("delta"):
                    yield Delta(event.delta)
                elif event.HasField("finished"):
                    complete = True
                    finished.reason = _REASONS.get(event.finished.reason, "stop")
                    finished.prompt_tokens = event.finished.usage.prompt_tokens
                    finished.completion_tokens = event.finished.usage.completion_tokens
        except ServeError as error:
            error.field = _caller_field(error.field)
            raise
        if not complete:
            raise Unavailable("the answer broke off", retry_after=1.0)

    async def _speak(self, spoken: Spoken, text: str, step: Step, journal: Journal) -> AsyncGenerator[Sound]:
        request = SynthesizeRequest(text=text, model=step.model, voice=spoken.voice, mime_type=spoken.mime_type)
        try:
            async for event in self._clients.speech.Synthesize(request):
                if event.HasField("chunk"):
                    yield Sound(event.chunk)
        except ServeError as error:
            error.field = f"audio.{error.field}"
            journal.leave_out(step, error)


def _caller_field(field: str) -> str:
    """The caller's name for a field of GenerateTextRequest: its messages are ours, not the caller's."""
    if field.startswith("messages"):
        return "messages"
    return "response_format" if field.startswith("format") else field
