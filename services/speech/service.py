"""The speech service: its RPCs."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import aclosing

from polyphony.speech.v1 import alignment_pb2 as alignment_pb
from polyphony.speech.v1 import anomaly_pb2 as anomaly_pb
from polyphony.speech.v1 import assessment_pb2 as assessment_pb
from polyphony.speech.v1 import diarization_pb2 as diarization_pb
from polyphony.speech.v1 import emotion_pb2 as emotion_pb
from polyphony.speech.v1 import enhancement_pb2 as enhancement_pb
from polyphony.speech.v1 import synthesis_pb2 as synthesis_pb
from polyphony.speech.v1 import transcription_pb2 as transcription_pb
from polyphony.speech.v1 import voices_pb2 as voices_pb

from servekit.media.objects import ObjectStore
from servekit.ops.periodic import repeat
from servekit.ops.telemetry import Telemetry
from servekit.rpc.server import ServiceSpec
from servekit.tasks.loading import load_models
from servekit.tasks.repository import ModelRepository
from services.speech.alignment.alignment import ForcedAlignment
from services.speech.anomaly.anomaly import AnomalyDetection
from services.speech.anomaly.store import DetectorStore
from services.speech.assessment.assessment import Assessor
from services.speech.audio.recording import Recordings
from services.speech.diarization.diarization import SpeakerDiarization
from services.speech.diarization.diarizers import ClusteringDiarizer, EndToEndDiarizer, RecordingDiarizer
from services.speech.emotion.emotion import EmotionAnalysis
from services.speech.enhancement.enhancement import SpeechEnhancement
from services.speech.live.live import LiveTranscription
from services.speech.records import RecordTable, open_records
from services.speech.settings import SpeechSettings
from services.speech.synthesis.catalogue_voices import CatalogueVoices
from services.speech.synthesis.synthesis import Synthesis
from services.speech.tasks import tasks
from services.speech.transcription.transcription import LongFormTranscriber
from services.speech.transcription.transcripts import message, transcription_options, vad_options_of
from services.speech.voice_activity import SpeechDetector
from services.speech.voices.references import References
from services.speech.voices.store import VoiceStore
from services.speech.voices.voices import VoiceCatalogue

log = logging.getLogger(__name__)

SWEEP_SECONDS = 3600.0  # between two sweeps

FILES = (
    transcription_pb,
    synthesis_pb,
    voices_pb,
    diarization_pb,
    alignment_pb,
    enhancement_pb,
    assessment_pb,
    emotion_pb,
    anomaly_pb,
)
SERVICES = tuple(service for file in FILES for service in file.DESCRIPTOR.services_by_name.values())


class SpeechServicer:
    """The RPCs of all services of `polyphony.speech.v1`.

    Args:
        models: The process's models.
        records: The records of voices and anomaly detectors.
        settings: The limits of a request.
    """

    def __init__(self, models: ModelRepository, records: RecordTable, settings: SpeechSettings) -> None:
        transcribers, synthesizers = models["transcribe"], models["synthesize"]
        detector: SpeechDetector = models["detect_speech"].get().model
        store, catalogue_voices = ObjectStore(settings.object_store_url), CatalogueVoices(settings.catalogue)
        recordings, max_characters = Recordings(store, settings), settings.max_transcript_characters
        transcription = LongFormTranscriber(transcribers, detector)
        references = References(recordings, detector)
        diarizers: list[RecordingDiarizer] = [
            *(EndToEndDiarizer(scheduler) for scheduler in models["diarize"]),
            *(ClusteringDiarizer(scheduler, detector) for scheduler in models["embed_speaker"]),
        ]
        self._settings, self._recordings, self._transcription = settings, recordings, transcription
        self._live = LiveTranscription(transcribers, detector, settings)
        self._diarization = SpeakerDiarization(recordings, diarizers, settings.max_speakers)
        self._alignment = ForcedAlignment(
            models["align"], transcribers, transcription, detector, recordings, max_characters
        )
        voices = VoiceStore(store.bucket, records, settings.max_voices)
        detectors = DetectorStore(store.bucket, records, settings)
        self._swept = (voices, detectors)
        self._voices = VoiceCatalogue(synthesizers, voices, references, transcription, catalogue_voices)
        self._synthesis = Synthesis(self._voices, catalogue_voices, settings)
        self._enhancement = SpeechEnhancement(models["enhance"], detector, recordings, settings.max_enhance_seconds)
        self._assessor = Assessor(recordings, transcription, max_characters)
        self._emotions = EmotionAnalysis(
            recordings, transcription, models["classify_sentiment"], models["recognize_emotion"]
        )
        self._anomaly = AnomalyDetection(models["detect_anomaly"], recordings, detectors, settings)

    async def sweep(self) -> None:
        """Delete the bytes of voices and anomaly detectors that a crash left without a record."""
        if removed := sum([await store.sweep(time.time()) for store in self._swept]):
            log.info("deleted %d blobs that had no record", removed)

    async def drain(self) -> None:
        """End the live streams: see `ServiceSpec.drain`."""
        await self._live.drain()

    async def Transcribe(
        self, request: transcription_pb.TranscribeRequest, context: object
    ) -> AsyncIterator[transcription_pb.TranscribeResponse]:
        options = transcription_options(request, self._settings)
        vad_options = vad_options_of(request.voice_activity)
        self._transcription.scheduler(request.model, options)  # reject before the recording is opened
        async with (
            self._recordings.open(request.audio, "audio") as recording,
            aclosing(self._transcription.transcribe(recording, options, request.model, vad_options)) as events,
        ):
            async for event in events:
                yield message(event)

    async def StreamingTranscribe(
        self, requests: AsyncIterator[transcription_pb.StreamingTranscribeRequest], context: object
    ) -> AsyncIterator[transcription_pb.StreamingTranscribeResponse]:
        async with aclosing(self._live.transcribe(requests)) as events:
            async for event in events:
                yield event

    async def Synthesize(
        self, request: synthesis_pb.SynthesizeRequest, context: object
    ) -> AsyncIterator[synthesis_pb.SynthesizeResponse]:
        async with aclosing(self._synthesis.synthesize(request)) as events:
            async for event in events:
                yield event

    async def ListVoices(self, request: voices_pb.ListVoicesRequest, context: object) -> voices_pb.ListVoicesResponse:
        return await self._voices.list_voices(request)

    async def CreateVoice(
        self, request: voices_pb.CreateVoiceRequest, context: object
    ) -> voices_pb.CreateVoiceResponse:
        return await self._voices.create(request)

    async def DeleteVoice(
        self, request: voices_pb.DeleteVoiceRequest, context: object
    ) -> voices_pb.DeleteVoiceResponse:
        return await self._voices.delete(request)

    async def Diarize(self, request: diarization_pb.DiarizeRequest, context: object) -> diarization_pb.DiarizeResponse:
        return await self._diarization.diarize(request)

    async def Align(self, request: alignment_pb.AlignRequest, context: object) -> alignment_pb.AlignResponse:
        return await self._alignment.align(request)

    async def Enhance(
        self, request: enhancement_pb.EnhanceRequest, context: object
    ) -> AsyncIterator[enhancement_pb.EnhanceResponse]:
        async with aclosing(self._enhancement.enhance(request)) as events:
            async for event in events:
                yield event

    async def Assess(self, request: assessment_pb.AssessRequest, context: object) -> assessment_pb.AssessResponse:
        return await self._assessor.assess(request)

    async def AnalyzeEmotion(
        self, request: emotion_pb.AnalyzeEmotionRequest, context: object
    ) -> emotion_pb.AnalyzeEmotionResponse:
        return await self._emotions.analyze(request)

    async def TrainAnomalyDetector(
        self, request: anomaly_pb.TrainAnomalyDetectorRequest, context: object
    ) -> anomaly_pb.TrainAnomalyDetectorResponse:
        return await self._anomaly.train(request)

    async def ListAnomalyDetectors(
        self, request: anomaly_pb.ListAnomalyDetectorsRequest, context: object
    ) -> anomaly_pb.ListAnomalyDetectorsResponse:
        return await self._anomaly.list_all()

    async def DeleteAnomalyDetector(
        self, request: anomaly_pb.DeleteAnomalyDetectorRequest, context: object
    ) -> anomaly_pb.DeleteAnomalyDetectorResponse:
        return await self._anomaly.delete(request)

    async def DetectAnomaly(
        self, request: anomaly_pb.DetectAnomalyRequest, context: object
    ) -> anomaly_pb.DetectAnomalyResponse:
        return await self._anomaly.detect(request)

    async def ClassifySound(
        self, request: anomaly_pb.ClassifySoundRequest, context: object
    ) -> anomaly_pb.ClassifySoundResponse:
        return await self._anomaly.classify(request)


async def build(settings: SpeechSettings, telemetry: Telemetry) -> ServiceSpec:
    """Load the profile's models, and build what serves them.

    Raises:
        FailedPrecondition: See `load_models` and `open_records`.
    """
    models = await load_models(tasks(settings), settings, telemetry)
    records = open_records(settings.database_url.get_secret_value(), settings.max_database_connections)
    service = SpeechServicer(models, records, settings)

    sweeping: list[asyncio.Task[None]] = []

    async def start() -> None:
        await records.start()
        problem = "bytes without a record could not be deleted"
        sweeping.append(asyncio.create_task(repeat(service.sweep, SWEEP_SECONDS, problem)))

    async def stop() -> None:
        for task in sweeping:
            task.cancel()
        await records.stop()

    return ServiceSpec(
        servicer=service,
        services=SERVICES,
        models=models,
        start=start,
        drain=service.drain,
        stop=stop,
    )
