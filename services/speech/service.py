"""The speech service: what each RPC does."""

import asyncio
import math
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from typing import Any

from polyphony.speech.v1 import speech_pb2 as pb
from polyphony.speech.v1 import voices_pb2 as voices_pb
from polyphony.speech.v1.speech_pb2_grpc import SpeechServiceServicer, add_SpeechServiceServicer_to_server
from polyphony.type.v1.time_span_pb2 import TimeSpan

from servekit.audio import AudioLimits, claimed_seconds, decode_audio
from servekit.call import Flag, current
from servekit.catalogue import Task
from servekit.errors import InvalidArgument, TooLarge
from servekit.models import Models, cards, load
from servekit.objects import ObjectStore
from servekit.server import Deployment
from servekit.streaming import StreamLane
from servekit.telemetry import Telemetry
from services.speech.dictation import Dictation
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
from services.speech.ports.speech_detector import SpeechDetector
from services.speech.readers import Readers
from services.speech.recording import Recordings
from services.speech.references import References
from services.speech.settings import SpeechSettings
from services.speech.synthesis import Synthesis
from services.speech.voices import Voices

# A recording costs its seconds, but no less than this: the encoder's window has a price of its own.
MIN_COST_SECONDS = 15.0


class SpeechService(SpeechServiceServicer):
    """`polyphony.speech.v1.SpeechService`.

    Args:
        transcribers: The lanes that hear.
        synthesis: What speaks.
        voices: Who speaks.
        store: Where media that come by reference are.
        settings: The limits of a request.
    """

    def __init__(
        self,
        transcribers: Models[StreamLane[Transcriber]],
        synthesis: Synthesis,
        voices: Voices,
        store: ObjectStore,
        settings: SpeechSettings,
    ) -> None:
        self._transcribers = transcribers
        self._synthesis = synthesis
        self._voices = voices
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
        async with aclosing(self._synthesis.synthesize(request)) as events:
            async for event in events:
                yield event

    async def ListVoices(self, request: voices_pb.ListVoicesRequest, context: object) -> voices_pb.ListVoicesResponse:
        return await self._voices.known(request)

    async def CreateVoice(
        self, request: voices_pb.CreateVoiceRequest, context: object
    ) -> voices_pb.CreateVoiceResponse:
        return await self._voices.create(request)

    async def DeleteVoice(
        self, request: voices_pb.DeleteVoiceRequest, context: object
    ) -> voices_pb.DeleteVoiceResponse:
        return await self._voices.delete(request)

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
    listening = next(card for card in rows if card.task == "detect_speech")
    detector: SpeechDetector = await load(listening, settings, LOADERS, telemetry)
    telemetry.ready.labels(listening.id).set(True)
    store, readers = ObjectStore(settings.object_store_url), Readers(settings.catalogue)
    references = References(Recordings(store, settings), detector)
    dictation = Dictation(Models(transcribers))
    voices = Voices(Models(synthesizers), store, references, dictation.write_down, readers, settings)
    return Deployment(
        add=add_SpeechServiceServicer_to_server,
        servicer=SpeechService(  # type: ignore[abstract]
            Models(transcribers), Synthesis(voices, readers, settings), voices, store, settings
        ),
        descriptor=pb.DESCRIPTOR.services_by_name["SpeechService"],
        lanes=(*transcribers, *synthesizers),
    )
