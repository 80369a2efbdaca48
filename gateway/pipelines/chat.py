"""The composed chat: media are read and vector stores searched concurrently, then one model answers from all of it."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing

from polyphony.gateway.v1.gateway_pb2 import ChatRequest, SpokenAnswer
from polyphony.generation.v1.generation_pb2 import GenerateTextRequest, TextFinished
from polyphony.type.v1.chat_pb2 import ChatMessage

from gateway.auth import Caller
from gateway.clients import Clients
from gateway.models import ModelDirectory
from gateway.pipelines.answer import AnswerAudio, AnswerDelta, AnswerEvent, AnswerFinished
from gateway.pipelines.channel import EventChannel
from gateway.pipelines.context_builder import MEDIA_TASKS, ContextBuilder
from gateway.pipelines.prompt import PromptTemplate
from gateway.pipelines.spoken_answer import SentenceBuffer, synthesize_sentences
from gateway.pipelines.steps import StepRecorder
from gateway.settings import GatewaySettings
from gateway.streams import completed
from servekit.chat.message import check_messages
from servekit.errors import InvalidArgument, ServeError, TooLarge
from servekit.ops.telemetry import Telemetry

MODALITIES = ("text", "image", "audio")
MAX_VECTOR_STORES = 8  # of one search
DEFAULT_MIME_TYPE = "audio/wav"
_REASONS = {TextFinished.REASON_LENGTH: "length"}


class ChatPipeline:
    """Answers conversations.

    Args:
        clients: The services.
        models: The models by name and task.
        context_builder: Extracts the texts of media and searches vector stores.
        template: Renders the prompt.
        settings: Bounds of a request.
        telemetry: Counts steps and answers.
    """

    def __init__(
        self,
        clients: Clients,
        models: ModelDirectory,
        context_builder: ContextBuilder,
        template: PromptTemplate,
        settings: GatewaySettings,
        telemetry: Telemetry,
    ) -> None:
        self._clients, self._models, self._context_builder = clients, models, context_builder
        self._template, self._settings, self._telemetry = template, settings, telemetry

    async def run(self, request: ChatRequest, caller: Caller) -> AsyncGenerator[AnswerEvent]:
        """Answer, event by event: each step when it has ended, deltas of text, audio, and `AnswerFinished`.

        Text and its speech overlap: a sentence is synthesized while the next one is generated.

        Raises:
            ServeError: The request is invalid, or nothing of it is left to answer, or the model fails.
        """
        model = self._models.resolve("generate_text", request.model, caller)
        self._check(request)
        models = {"generate_text": model} | {
            task: self._model(task, field, caller) for task, field in _needed(request).items()
        }
        channel = EventChannel[AnswerEvent]()
        async with aclosing(channel.run(self._answer(request, models, channel))) as events:
            async for event in events:
                yield event

    def _model(self, task: str, field: str, caller: Caller) -> str:
        """The default model of a task; an error names the field that needs it."""
        try:
            return self._models.resolve(task, "", caller)
        except ServeError as error:
            error.field = field
            raise

    async def _answer(
        self, request: ChatRequest, models: Mapping[str, str], channel: EventChannel[AnswerEvent]
    ) -> None:
        recorder = StepRecorder(self._telemetry, channel.send_nowait)
        extracted, sources = await self._context_builder.build(request, models, recorder)
        finished = AnswerFinished(models["generate_text"], self._template.version, sources or ())
        sentences = SentenceBuffer()
        try:
            async with asyncio.TaskGroup() as group:
                if request.HasField("spoken"):
                    group.create_task(self._speak(request.spoken, models["synthesize"], sentences, recorder, channel))
                with recorder.step("generate_text", finished.model):
                    messages = self._template.render(request.messages, extracted, sources)
                    async with aclosing(self._generate(request, messages, finished)) as deltas:
                        async for delta in deltas:
                            if request.HasField("spoken"):
                                sentences.append(delta.text)
                            await channel.send(delta)
                sentences.end()
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from errors
        finished.seconds, finished.steps, finished.degraded = recorder.seconds, recorder.steps, recorder.degraded
        self._telemetry.pipeline_responses.labels(str(bool(recorder.degraded)).lower()).inc()
        await channel.send(finished)

    def _check(self, request: ChatRequest) -> None:
        """Refuse what no model could answer."""
        messages, settings = request.messages, self._settings
        check_messages(messages, MODALITIES, "chat")
        if not messages or messages[-1].role != ChatMessage.ROLE_USER:
            raise InvalidArgument("the last message must be the user's", field="messages")
        if not messages[-1].parts:
            raise InvalidArgument("the last message must not be empty", field=f"messages[{len(messages) - 1}].parts")
        parts = [part for message in messages for part in message.parts]
        characters = sum(len(part.text) for part in parts)
        if characters > settings.max_chat_characters:
            raise TooLarge(
                f"the conversation must have at most {settings.max_chat_characters} characters, got {characters}",
                field="messages",
            )
        media = sum(not part.HasField("text") for part in parts)
        if media > settings.max_media_parts:
            raise TooLarge(
                f"the conversation must have at most {settings.max_media_parts} images and recordings, got {media}",
                field="messages",
            )
        stores = len(request.file_search.vector_store_ids)
        if stores > MAX_VECTOR_STORES:
            raise TooLarge(
                f"file_search must have at most {MAX_VECTOR_STORES} vector stores, got {stores}",
                field="file_search.vector_store_ids",
            )

    async def _generate(
        self, request: ChatRequest, messages: Sequence[ChatMessage], finished: AnswerFinished
    ) -> AsyncGenerator[AnswerDelta]:
        generate = GenerateTextRequest(
            messages=messages,
            model=finished.model,
            max_tokens=request.max_tokens,
            stop=request.stop,
            temperature=request.temperature if request.HasField("temperature") else None,
            top_p=request.top_p if request.HasField("top_p") else None,
            seed=request.seed if request.HasField("seed") else None,
            format=request.format if request.HasField("format") else None,
        )
        names = {"messages": "messages"}  # without an index: the caller did not write the rendered messages
        async for event in completed(self._clients.generation.GenerateText(generate), "generation", **names):
            if event.HasField("delta"):
                yield AnswerDelta(event.delta)
            elif event.HasField("finished"):
                finished.reason = _REASONS.get(event.finished.reason, "stop")
                finished.prompt_tokens = event.finished.usage.prompt_tokens
                finished.completion_tokens = event.finished.usage.completion_tokens

    async def _speak(
        self,
        spoken: SpokenAnswer,
        model: str,
        sentences: SentenceBuffer,
        recorder: StepRecorder,
        channel: EventChannel[AnswerEvent],
    ) -> None:
        """Send the speech of the answer, sentence by sentence; a failure of the service leaves out the rest."""
        if not (first := await sentences.take()):
            return
        with recorder.step("synthesize", model) as step:
            try:
                mime_type = spoken.mime_type or DEFAULT_MIME_TYPE
                audio = synthesize_sentences(
                    self._clients, sentences, first, voice=spoken.voice, model=model, mime_type=mime_type
                )
                async with aclosing(audio) as chunks:
                    async for chunk in chunks:
                        await channel.send(AnswerAudio(chunk))
            except ServeError as error:
                recorder.mark_degraded(step, error)


def _needed(request: ChatRequest) -> dict[str, str]:
    """The tasks that a request needs besides its answer, each with the first field that needs it."""
    needed: dict[str, str] = {}
    for index, message in enumerate(request.messages):
        for part_index, part in enumerate(message.parts):
            for kind, task in MEDIA_TASKS.items():
                if part.HasField(kind):
                    needed.setdefault(task, f"messages[{index}].parts[{part_index}].{kind}")
    if request.HasField("file_search"):
        needed["embed"] = "file_search"
    if request.HasField("spoken"):
        needed["synthesize"] = "spoken"
    return needed
