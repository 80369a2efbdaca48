"""The clients of the services that the gateway calls."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import grpc
from grpc_health.v1 import health_pb2
from polyphony.generation.v1.generation_pb2_grpc import GenerationServiceStub
from polyphony.retrieval.v1.retrieval_pb2_grpc import RetrievalServiceStub
from polyphony.speech.v1.alignment_pb2_grpc import AlignmentServiceStub
from polyphony.speech.v1.anomaly_pb2_grpc import AnomalyServiceStub
from polyphony.speech.v1.assessment_pb2_grpc import AssessmentServiceStub
from polyphony.speech.v1.diarization_pb2_grpc import DiarizationServiceStub
from polyphony.speech.v1.emotion_pb2_grpc import EmotionServiceStub
from polyphony.speech.v1.enhancement_pb2_grpc import EnhancementServiceStub
from polyphony.speech.v1.synthesis_pb2_grpc import SynthesisServiceStub
from polyphony.speech.v1.transcription_pb2_grpc import TranscriptionServiceStub
from polyphony.speech.v1.voices_pb2_grpc import VoiceServiceStub
from polyphony.vision.v1.vision_pb2_grpc import VisionServiceStub

from gateway.offered_load import OfferedLoadChannel
from gateway.settings import GatewaySettings
from servekit.errors import ServeError
from servekit.ops.telemetry import Telemetry
from servekit.rpc.client import connect

if TYPE_CHECKING:  # names that only the generated type stubs have
    from polyphony.generation.v1.generation_pb2_grpc import GenerationServiceAsyncStub
    from polyphony.retrieval.v1.retrieval_pb2_grpc import RetrievalServiceAsyncStub
    from polyphony.speech.v1.alignment_pb2_grpc import AlignmentServiceAsyncStub
    from polyphony.speech.v1.anomaly_pb2_grpc import AnomalyServiceAsyncStub
    from polyphony.speech.v1.assessment_pb2_grpc import AssessmentServiceAsyncStub
    from polyphony.speech.v1.diarization_pb2_grpc import DiarizationServiceAsyncStub
    from polyphony.speech.v1.emotion_pb2_grpc import EmotionServiceAsyncStub
    from polyphony.speech.v1.enhancement_pb2_grpc import EnhancementServiceAsyncStub
    from polyphony.speech.v1.synthesis_pb2_grpc import SynthesisServiceAsyncStub
    from polyphony.speech.v1.transcription_pb2_grpc import TranscriptionServiceAsyncStub
    from polyphony.speech.v1.voices_pb2_grpc import VoiceServiceAsyncStub
    from polyphony.vision.v1.vision_pb2_grpc import VisionServiceAsyncStub


@dataclass(frozen=True, slots=True)
class Clients:
    """One stub for each gRPC service; those of speech share one connection.

    Attributes:
        channels: The connections, by deployable.
    """

    vision: "VisionServiceAsyncStub"
    transcription: "TranscriptionServiceAsyncStub"
    synthesis: "SynthesisServiceAsyncStub"
    voices: "VoiceServiceAsyncStub"
    diarization: "DiarizationServiceAsyncStub"
    alignment: "AlignmentServiceAsyncStub"
    enhancement: "EnhancementServiceAsyncStub"
    assessment: "AssessmentServiceAsyncStub"
    emotion: "EmotionServiceAsyncStub"
    anomaly: "AnomalyServiceAsyncStub"
    generation: "GenerationServiceAsyncStub"
    retrieval: "RetrievalServiceAsyncStub"
    channels: Mapping[str, grpc.aio.Channel]

    @classmethod
    def connect(cls, settings: GatewaySettings, telemetry: Telemetry) -> "Clients":
        """Connect to the targets of the settings; the services may start later."""
        channels = {
            noun: connect(target, f"polyphony.{noun}.v1", settings)
            for noun, target in (
                ("vision", settings.vision_target),
                ("speech", settings.speech_target),
                ("generation", settings.generation_target),
                ("retrieval", settings.retrieval_target),
            )
        }

        def metered(noun: str) -> grpc.aio.Channel:
            unserved = telemetry.unserved_load.labels(noun)
            return cast(
                "grpc.aio.Channel",
                OfferedLoadChannel(channels[noun], unserved, settings.unserved_request_engine_seconds),
            )

        speech = metered("speech")
        return cls(
            vision=VisionServiceStub(metered("vision")),
            transcription=TranscriptionServiceStub(speech),
            synthesis=SynthesisServiceStub(speech),
            voices=VoiceServiceStub(speech),
            diarization=DiarizationServiceStub(speech),
            alignment=AlignmentServiceStub(speech),
            enhancement=EnhancementServiceStub(speech),
            assessment=AssessmentServiceStub(speech),
            emotion=EmotionServiceStub(speech),
            anomaly=AnomalyServiceStub(speech),
            generation=GenerationServiceStub(metered("generation")),
            retrieval=RetrievalServiceStub(metered("retrieval")),
            channels=channels,
        )

    async def health(self, seconds: float) -> dict[str, bool]:
        """Whether each service reports within `seconds` that it serves."""

        async def serves(channel: grpc.aio.Channel) -> bool:
            try:
                async with asyncio.timeout(seconds):
                    check = channel.unary_unary(
                        "/grpc.health.v1.Health/Check",
                        health_pb2.HealthCheckRequest.SerializeToString,
                        health_pb2.HealthCheckResponse.FromString,
                    )
                    answer = await check(health_pb2.HealthCheckRequest())
            except (ServeError, TimeoutError):
                return False
            return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

        answers = await asyncio.gather(*(serves(channel) for channel in self.channels.values()))
        return dict(zip(self.channels, answers, strict=True))

    async def close(self) -> None:
        """Close the channels."""
        for channel in self.channels.values():
            await channel.close()
