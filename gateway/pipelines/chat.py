"""The composed chat: images read, recordings heard and stores searched at once, then one answer from it all."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from polyphony.generation.v1.generation_pb2 import GenerateTextRequest, TextFinished, TextMessage

from gateway.auth import Caller
from gateway.clients import Clients
from gateway.models import ModelDirectory
from gateway.pipelines.channel import EventChannel
from gateway.pipelines.context_builder import ContextBuilder
from gateway.pipelines.conversation import ChatPlan, Delta, Event, Finished, Medium, Sound, Spoken
from gateway.pipelines.prompt import Passage, PromptTemplate
from gateway.pipelines.spoken_answer import SentenceBuffer, synthesize_sentences
from gateway.pipelines.steps import StepRecorder
from gateway.settings import GatewaySettings
from gateway.streams import completed
from servekit.ops.telemetry import Telemetry
from servekit.rpc.errors import InvalidArgument, ServeError, TooLarge

_REASONS = {TextFinished.REASON_LENGTH: "length"}


class ChatPipeline:
    """Answers conversations.

    Args:
        clients: The services.
        models: What each model is called.
        understanding: Says what media and stores say.
        template: How all of it becomes a prompt.
        settings: Bounds.
        telemetry: Where steps and answers are counted.
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

    async def run(self, plan: ChatPlan, caller: Caller) -> AsyncGenerator[Event]:
        """Answer, event by event: each step when it has ended, deltas of text, audio, and `Finished` at the end.

        Text and its speech overlap: a sentence is synthesized while the next one is generated.

        Raises:
            ServeError: The request is wrong, or nothing is left to answer, or the model fails.
        """
        model = self._models.resolve("generate_text", plan.model, caller)
        self._check(plan)
        channel = EventChannel[Event]()
        async with aclosing(channel.run(self._answer(plan, model, channel))) as events:
            async for event in events:
                yield event

    async def _answer(self, plan: ChatPlan, model: str, channel: EventChannel[Event]) -> None:
        recorder = StepRecorder(self._telemetry, channel.send_nowait)
        turns, sources = await self._context_builder.of(plan, recorder)
        passages = sources if sources is None else [Passage(s.number, s.filename, s.text) for s in sources]
        finished = Finished(model, self._template.version, sources or ())
        sentences = SentenceBuffer()
        try:
            async with asyncio.TaskGroup() as group:
                if plan.spoken is not None:
                    group.create_task(self._speak(plan.spoken, sentences, recorder, channel))
                with recorder.step("generate_text", model):
                    messages = self._template.render(turns, passages)
                    async with aclosing(self._generate(plan, messages, finished)) as deltas:
                        async for delta in deltas:
                            sentences.append(delta.text)
                            await channel.send(delta)
                sentences.end()
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from errors
        finished.seconds, finished.steps, finished.degraded = recorder.seconds, recorder.steps, recorder.degraded
        self._telemetry.pipeline_responses.labels(str(bool(recorder.degraded)).lower()).inc()
        await channel.send(finished)

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
        names = {"messages": "messages", "format": "response_format"}  # of our messages the caller knows no index
        async for event in completed(self._clients.generation.GenerateText(request), "generation", **names):
            if event.HasField("delta"):
                yield Delta(event.delta)
            elif event.HasField("finished"):
                finished.reason = _REASONS.get(event.finished.reason, "stop")
                finished.prompt_tokens = event.finished.usage.prompt_tokens
                finished.completion_tokens = event.finished.usage.completion_tokens

    async def _speak(
        self, spoken: Spoken, sentences: SentenceBuffer, recorder: StepRecorder, channel: EventChannel[Event]
    ) -> None:
        """Send the speech of the answer, sentence by sentence; a failure of the service leaves out the rest."""
        model = self._models.default("synthesize").id
        if not (first := await sentences.take()):
            return
        with recorder.step("synthesize", model) as step:
            try:
                audio = synthesize_sentences(
                    self._clients, sentences, first, voice=spoken.voice, model=model, mime_type=spoken.mime_type
                )
                async with aclosing(audio) as chunks:
                    async for chunk in chunks:
                        await channel.send(Sound(chunk))
            except ServeError as error:
                recorder.mark_degraded(step, error)
