"""The speech service: what each RPC does."""

from collections.abc import AsyncIterator
from contextlib import aclosing

from polyphony.speech.v1 import alignment_pb2 as alignment_pb
from polyphony.speech.v1 import assessment_pb2 as assessment_pb
from polyphony.speech.v1 import emotion_pb2 as emotion_pb
from polyphony.speech.v1 import enhancement_pb2 as enhancement_pb
from polyphony.speech.v1 import sounds_pb2 as sounds_pb
from polyphony.speech.v1 import speakers_pb2 as speakers_pb
from polyphony.speech.v1 import speech_pb2 as pb
from polyphony.speech.v1 import voices_pb2 as voices_pb
from polyphony.speech.v1.speech_pb2_grpc import SpeechServiceServicer, add_SpeechServiceServicer_to_server

from servekit.ops.telemetry import Telemetry
from servekit.rpc.server import ServiceSpec
from services.speech.parts import Parts
from services.speech.schedulers import load_schedulers
from services.speech.settings import SpeechSettings
from services.speech.transcription.transcripts import instructions_of, message, sensitivity_of


class SpeechService(SpeechServiceServicer):
    """`polyphony.speech.v1.SpeechService`.

    Args:
        parts: What does the RPCs.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def Transcribe(self, request: pb.TranscribeRequest, context: object) -> AsyncIterator[pb.TranscribeResponse]:
        instructions, sensitivity = (
            instructions_of(request, self._parts.settings),
            sensitivity_of(request.voice_activity),
        )
        self._parts.transcription.scheduler(request.model, instructions)  # refused before anything is opened
        async with (
            self._parts.recordings.open(request.audio, "audio") as recording,
            aclosing(self._parts.transcription.hear(recording, instructions, request.model, sensitivity)) as events,
        ):
            async for event in events:
                yield message(event)

    async def StreamingTranscribe(
        self, request_iterator: AsyncIterator[pb.StreamingTranscribeRequest], context: object
    ) -> AsyncIterator[pb.StreamingTranscribeResponse]:
        async with aclosing(self._parts.live.listen(request_iterator)) as events:
            async for event in events:
                yield event

    async def Diarize(self, request: speakers_pb.DiarizeRequest, context: object) -> speakers_pb.DiarizeResponse:
        return await self._parts.diarization.diarize(request)

    async def Align(self, request: alignment_pb.AlignRequest, context: object) -> alignment_pb.AlignResponse:
        return await self._parts.alignment.align(request)

    async def Synthesize(self, request: pb.SynthesizeRequest, context: object) -> AsyncIterator[pb.SynthesizeResponse]:
        async with aclosing(self._parts.synthesis.synthesize(request)) as events:
            async for event in events:
                yield event

    async def ListVoices(self, request: voices_pb.ListVoicesRequest, context: object) -> voices_pb.ListVoicesResponse:
        return await self._parts.voices.known(request)

    async def CreateVoice(
        self, request: voices_pb.CreateVoiceRequest, context: object
    ) -> voices_pb.CreateVoiceResponse:
        return await self._parts.voices.create(request)

    async def DeleteVoice(
        self, request: voices_pb.DeleteVoiceRequest, context: object
    ) -> voices_pb.DeleteVoiceResponse:
        return await self._parts.voices.delete(request)

    async def Enhance(
        self, request: enhancement_pb.EnhanceRequest, context: object
    ) -> AsyncIterator[enhancement_pb.EnhanceResponse]:
        async with aclosing(self._parts.enhancement.enhance(request)) as events:
            async for event in events:
                yield event

    async def FitSoundModel(
        self, request: sounds_pb.FitSoundModelRequest, context: object
    ) -> sounds_pb.FitSoundModelResponse:
        return await self._parts.sounds.fit(request)

    async def ListSoundModels(
        self, request: sounds_pb.ListSoundModelsRequest, context: object
    ) -> sounds_pb.ListSoundModelsResponse:
        return await self._parts.sounds.known()

    async def DeleteSoundModel(
        self, request: sounds_pb.DeleteSoundModelRequest, context: object
    ) -> sounds_pb.DeleteSoundModelResponse:
        return await self._parts.sounds.delete(request)

    async def ScoreSound(self, request: sounds_pb.ScoreSoundRequest, context: object) -> sounds_pb.ScoreSoundResponse:
        return await self._parts.sounds.score(request)

    async def ClassifySound(
        self, request: sounds_pb.ClassifySoundRequest, context: object
    ) -> sounds_pb.ClassifySoundResponse:
        return await self._parts.sounds.classify(request)

    async def Assess(self, request: assessment_pb.AssessRequest, context: object) -> assessment_pb.AssessResponse:
        return await self._parts.assessor.assess(request)

    async def AnalyzeEmotion(
        self, request: emotion_pb.AnalyzeEmotionRequest, context: object
    ) -> emotion_pb.AnalyzeEmotionResponse:
        return await self._parts.emotions.analyze(request)


async def build(settings: SpeechSettings, telemetry: Telemetry) -> ServiceSpec:
    """Load the profile's models and give each its slots.

    Raises:
        FailedPrecondition: Weights are missing, or need more memory than is allowed.
    """
    schedulers = await load_schedulers(settings, telemetry)
    parts = Parts.build(settings, schedulers)
    return ServiceSpec(
        add=add_SpeechServiceServicer_to_server,
        servicer=SpeechService(parts),
        descriptor=pb.DESCRIPTOR.services_by_name["SpeechService"],
        schedulers=tuple(schedulers),
        tensors=schedulers.tensors,
        drain=parts.live.drain,
    )
