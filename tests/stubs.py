"""Stubs of several gRPC services as one."""

import grpc
from polyphony.speech.v1.alignment_pb2_grpc import AlignmentServiceStub
from polyphony.speech.v1.anomaly_pb2_grpc import AnomalyServiceStub
from polyphony.speech.v1.assessment_pb2_grpc import AssessmentServiceStub
from polyphony.speech.v1.diarization_pb2_grpc import DiarizationServiceStub
from polyphony.speech.v1.emotion_pb2_grpc import EmotionServiceStub
from polyphony.speech.v1.enhancement_pb2_grpc import EnhancementServiceStub
from polyphony.speech.v1.synthesis_pb2_grpc import SynthesisServiceStub
from polyphony.speech.v1.transcription_pb2_grpc import TranscriptionServiceStub
from polyphony.speech.v1.voices_pb2_grpc import VoiceServiceStub


class SpeechStub:
    """Has the RPCs of all services of `polyphony.speech.v1`."""

    def __init__(self, channel: grpc.Channel) -> None:
        for stub in (
            AlignmentServiceStub,
            AnomalyServiceStub,
            AssessmentServiceStub,
            DiarizationServiceStub,
            EmotionServiceStub,
            EnhancementServiceStub,
            SynthesisServiceStub,
            TranscriptionServiceStub,
            VoiceServiceStub,
        ):
            vars(self).update(vars(stub(channel)))
