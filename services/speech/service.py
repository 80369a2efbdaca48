"""The speech service: what each RPC does."""

import asyncio
import math
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from typing import Any

from polyphony.speech.v1 import speech_pb2 as pb
from polyphony.speech.v1.speech_pb2_grpc import SpeechServiceServicer, add_SpeechServiceServicer_to_server
from polyphony.type.v1.time_span_pb2 import TimeSpan

from servekit.audio import AudioLimits, claimed_seconds, decode_audio
from servekit.audio_encoder import AudioEncoder
from servekit.call import Flag, current
from servekit.catalogue import Task
from servekit.errors import InvalidArgument, NotFound, TooLarge
from servekit.models import Models, cards, load
from servekit.objects import ObjectStore
from servekit.server import Deployment
from servekit.streaming import StreamLane
from servekit.telemetry import Telemetry
from services.speech.models import (
    LISTENING_RATE,
    LOADERS,
    Finished,
    Heard,
    Instructions,
    Segment,
    Started,
    Transcriber,
)
from services.speech.ports.synthesizer import Synthesizer
from services.speech.settings import SpeechSettings

# A recording costs its seconds, but no less than this: the encoder's window has a price of its own.
MIN_COST_SECONDS = 15.0
SPEEDS = (0.25, 4.0)


class SpeechService(SpeechServiceServicer):
    """`polyphony.speech.v1.SpeechService`.

    Args:
        transcribers: The lanes that hear.
        synthesizers: The lanes that speak.
        store: Where media that come by reference are.
        settings: The limits of a request.
    """

    def __init__(
        self,
        transcribers: Models[StreamLane[Transcriber]],
        synthesizers: Models[StreamLane[Synthesizer]],
        store: ObjectStore,
        settings: SpeechSettings,
    ) -> None:
        self._transcribers = transcribers
        self._synthesizers = synthesizers
        self._store = store
        self._settings = settings
        self._audio_limits = AudioLimits(settings.max_audio_bytes, settings.max_audio_seconds)

    async def Transcribe(self, request: pb.TranscribeRequest, context: object) -> AsyncIterator[pb.TranscribeResponse]:
        lane = self._transcribers.get(request.model)
        instructions = self._instructions(request)
        lane.model.check(instructions)
        data = await self._store.resolve(request.audio, current().tenant, self._settings.max_audio_bytes, "audio")
        claimed = await asyncio.to_thread(claimed_seconds, data)

        def hear(model: Transcriber, flag: Flag) -> Iterator[Heard]:
            samples = decode_audio(data, self._audio_limits, "audio", LISTENING_RATE)
            flag.check()
            yield from model.transcribe(samples, instructions, flag)

        cost = min(max(claimed, MIN_COST_SECONDS), self._settings.max_audio_seconds)
        async with aclosing(lane.stream(hear, cost)) as events:
            async for event in events:
                yield _heard(event, lane.card.id)

    async def Synthesize(self, request: pb.SynthesizeRequest, context: object) -> AsyncIterator[pb.SynthesizeResponse]:
        lane = self._synthesizers.get(request.model)
        most = self._settings.max_text_characters
        if len(request.text) > most:
            raise TooLarge(f"{len(request.text)} characters to speak, at most {most} are accepted", field="text")
        lane.model.check(request.text)
        voice = _voice(request.voice, lane.model)
        speed = _between(request.speed or 1.0, *SPEEDS, field="speed")
        encoder = AudioEncoder(request.mime_type or "audio/pcm", lane.model.sample_rate)

        def speak(model: Synthesizer, flag: Flag) -> Iterator[pb.SynthesizeResponse]:
            yield pb.SynthesizeResponse(
                started=pb.SynthesisStarted(
                    mime_type=encoder.mime_type,
                    sample_rate_hertz=encoder.sample_rate,
                    model=lane.card.id,
                    voice=voice,
                )
            )
            spoken = 0
            for samples in model.synthesize(request.text, voice, speed, flag):
                spoken += len(samples)
                if chunk := encoder.encode(samples):
                    yield pb.SynthesizeResponse(chunk=chunk)
            if chunk := encoder.finish():
                yield pb.SynthesizeResponse(chunk=chunk)
            yield pb.SynthesizeResponse(finished=pb.SynthesisFinished(duration_seconds=spoken / encoder.sample_rate))

        async with aclosing(lane.stream(speak, len(request.text))) as events:
            async for event in events:
                yield event

    def _instructions(self, request: pb.TranscribeRequest) -> Instructions:
        most = self._settings.max_prompt_characters
        if len(request.prompt) > most:
            raise TooLarge(f"a prompt of {len(request.prompt)} characters, at most {most} are accepted", field="prompt")
        return Instructions(
            language=request.language,
            prompt=request.prompt,
            word_times=request.word_times,
            temperature=_between(request.temperature, 0.0, 1.0, field="temperature"),
        )


def _between(value: float, least: float, most: float, field: str) -> float:
    if not math.isfinite(value) or not least <= value <= most:
        raise InvalidArgument(f"{field} is {value:g}; it has to be between {least:g} and {most:g}", field=field)
    return value


def _voice(name: str, model: Synthesizer) -> str:
    if name in ("", "default"):
        return model.voices[0]
    if name not in model.voices:
        raise NotFound(f"there is no voice {name[:80]!r}; there is default, {', '.join(model.voices)}", field="voice")
    return name


def _heard(event: Heard, model: str) -> pb.TranscribeResponse:
    match event:
        case Started(language, probability):
            started = pb.TranscriptionStarted(language=language, language_probability=probability, model=model)
            return pb.TranscribeResponse(started=started)
        case Finished(duration, speech):
            finished = pb.TranscriptionFinished(duration_seconds=duration, speech_seconds=speech)
            return pb.TranscribeResponse(finished=finished)
        case Segment():
            return pb.TranscribeResponse(segment=_segment(event))


def _segment(segment: Segment) -> pb.TranscriptSegment:
    words = [
        pb.TranscriptWord(
            time=TimeSpan(start_seconds=word.start, end_seconds=word.end), text=word.text, probability=word.probability
        )
        for word in segment.words
    ]
    return pb.TranscriptSegment(
        time=TimeSpan(start_seconds=segment.start, end_seconds=segment.end),
        text=segment.text,
        mean_log_probability=segment.mean_log_probability,
        no_speech_probability=segment.no_speech_probability,
        words=words,
    )


async def build(settings: SpeechSettings, telemetry: Telemetry) -> Deployment:
    """Load the profile's models and give each its slots.

    Raises:
        FailedPrecondition: Weights are missing, or need more memory than is allowed.
    """
    rows = cards(settings, "speech", telemetry)

    async def lanes(task: Task, slots: int, max_queue_cost: float) -> list[StreamLane[Any]]:
        return [
            StreamLane(
                card,
                [await load(card, settings, LOADERS, telemetry)] * slots,
                telemetry,
                max_queue_cost=max_queue_cost,
            )
            for card in rows
            if card.task == task
        ]

    transcribers = await lanes("transcribe", settings.transcribe_slots, settings.max_queue_audio_seconds)
    synthesizers = await lanes("synthesize", settings.synthesize_slots, settings.max_queue_characters)
    return Deployment(
        add=add_SpeechServiceServicer_to_server,
        servicer=SpeechService(  # type: ignore[abstract]
            Models(transcribers), Models(synthesizers), ObjectStore(settings.object_store_url), settings
        ),
        descriptor=pb.DESCRIPTOR.services_by_name["SpeechService"],
        lanes=(*transcribers, *synthesizers),
    )
