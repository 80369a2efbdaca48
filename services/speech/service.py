"""The speech service: what each RPC does."""

import logging
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from polyphony.speech.v1 import alignment_pb2 as alignment_pb
from polyphony.speech.v1 import assessment_pb2 as assessment_pb
from polyphony.speech.v1 import emotion_pb2 as emotion_pb
from polyphony.speech.v1 import enhancement_pb2 as enhancement_pb
from polyphony.speech.v1 import sounds_pb2 as sounds_pb
from polyphony.speech.v1 import speakers_pb2 as speakers_pb
from polyphony.speech.v1 import speech_pb2 as pb
from polyphony.speech.v1 import voices_pb2 as voices_pb
from polyphony.speech.v1.speech_pb2_grpc import SpeechServiceServicer, add_SpeechServiceServicer_to_server

from servekit.batching import BatchLane
from servekit.catalogue import ModelCard, Task
from servekit.errors import Unimplemented
from servekit.models import Models, cards, load
from servekit.objects import ObjectStore
from servekit.server import Deployment
from servekit.streaming import StreamLane
from servekit.telemetry import Telemetry
from servekit.tensors import TensorLane
from services.speech.alignment.alignment import Alignment
from services.speech.assessment.assessment import Assessor
from services.speech.cleaning.enhancement import Enhancement
from services.speech.diarization.diarization import Diarization
from services.speech.diarization.listeners import EncoderLane, TalkListener, VoiceListener
from services.speech.emotion.emotion import EmotionAnalysis
from services.speech.hearing.recording import Recordings
from services.speech.hearing.transcription import TranscriberLane, Transcription
from services.speech.hearing.transcripts import instructions_of, message, sensitivity_of
from services.speech.live.live import LiveTranscription
from services.speech.models import LOADERS
from services.speech.ports.speaker_encoder import SpeakerEncoder
from services.speech.ports.speech_detector import SpeechDetector
from services.speech.ports.transcriber import Transcriber
from services.speech.settings import SpeechSettings
from services.speech.sounds.sounds import Sounds
from services.speech.speaking.dictation import Dictation
from services.speech.speaking.readers import Readers
from services.speech.speaking.references import References
from services.speech.speaking.synthesis import Synthesis
from services.speech.speaking.voices import Voices

log = logging.getLogger(__name__)


class SpeechService(SpeechServiceServicer):
    """`polyphony.speech.v1.SpeechService`.

    Args:
        recordings: Where recordings are opened.
        transcription: What hears.
        synthesis: What speaks.
        voices: Who speaks.
        enhancement: What cleans.
        sounds: What learns the sounds of machines.
        assessor: What compares a learner's words with a text.
        emotions: What tells emotions.
        live: What hears while somebody speaks.
        alignment: What finds words.
        diarization: What tells speakers apart.
        settings: The limits of a request.
    """

    def __init__(
        self,
        recordings: Recordings,
        transcription: Transcription,
        synthesis: Synthesis,
        voices: Voices,
        enhancement: Enhancement,
        sounds: Sounds,
        assessor: Assessor,
        emotions: EmotionAnalysis,
        live: LiveTranscription,
        alignment: Alignment,
        diarization: Diarization,
        settings: SpeechSettings,
    ) -> None:
        self._recordings = recordings
        self._transcription = transcription
        self._synthesis = synthesis
        self._voices = voices
        self._enhancement = enhancement
        self._sounds = sounds
        self._assessor = assessor
        self._emotions = emotions
        self._live = live
        self._alignment = alignment
        self._diarization = diarization
        self._settings = settings

    async def Transcribe(self, request: pb.TranscribeRequest, context: object) -> AsyncIterator[pb.TranscribeResponse]:
        instructions, sensitivity = instructions_of(request, self._settings), sensitivity_of(request.voice_activity)
        self._transcription.lane(request.model, instructions)  # refused before anything is opened
        async with (
            self._recordings.open(request.audio, "audio") as recording,
            aclosing(self._transcription.hear(recording, instructions, request.model, sensitivity)) as events,
        ):
            async for event in events:
                yield message(event)

    async def StreamingTranscribe(
        self, request_iterator: AsyncIterator[pb.StreamingTranscribeRequest], context: object
    ) -> AsyncIterator[pb.StreamingTranscribeResponse]:
        async with aclosing(self._live.listen(request_iterator)) as events:
            async for event in events:
                yield event

    async def Diarize(self, request: speakers_pb.DiarizeRequest, context: object) -> speakers_pb.DiarizeResponse:
        return await self._diarization.diarize(request)

    async def Align(self, request: alignment_pb.AlignRequest, context: object) -> alignment_pb.AlignResponse:
        return await self._alignment.align(request)

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

    async def Enhance(
        self, request: enhancement_pb.EnhanceRequest, context: object
    ) -> AsyncIterator[enhancement_pb.EnhanceResponse]:
        async with aclosing(self._enhancement.enhance(request)) as events:
            async for event in events:
                yield event

    async def FitSoundModel(
        self, request: sounds_pb.FitSoundModelRequest, context: object
    ) -> sounds_pb.FitSoundModelResponse:
        return await self._sounds.fit(request)

    async def ListSoundModels(
        self, request: sounds_pb.ListSoundModelsRequest, context: object
    ) -> sounds_pb.ListSoundModelsResponse:
        return await self._sounds.known()

    async def DeleteSoundModel(
        self, request: sounds_pb.DeleteSoundModelRequest, context: object
    ) -> sounds_pb.DeleteSoundModelResponse:
        return await self._sounds.delete(request)

    async def ScoreSound(self, request: sounds_pb.ScoreSoundRequest, context: object) -> sounds_pb.ScoreSoundResponse:
        return await self._sounds.score(request)

    async def ClassifySound(
        self, request: sounds_pb.ClassifySoundRequest, context: object
    ) -> sounds_pb.ClassifySoundResponse:
        return await self._sounds.classify(request)

    async def Assess(self, request: assessment_pb.AssessRequest, context: object) -> assessment_pb.AssessResponse:
        return await self._assessor.assess(request)

    async def AnalyzeEmotion(
        self, request: emotion_pb.AnalyzeEmotionRequest, context: object
    ) -> emotion_pb.AnalyzeEmotionResponse:
        return await self._emotions.analyze(request)


async def build(settings: SpeechSettings, telemetry: Telemetry) -> Deployment:
    """Load the profile's models and give each its slots.

    Raises:
        FailedPrecondition: Weights are missing, or need more memory than is allowed.
    """
    rows = cards(settings, "speech", telemetry)

    async def lanes(task: Task, slots: int, max_queue_cost: float) -> list[StreamLane[Any]]:
        made = []
        for card in rows:
            if card.task == task:
                try:
                    model = await load(card, settings, LOADERS, telemetry)
                except Unimplemented as error:  # an engine that is not built for this machine
                    log.warning("%s is left out: %s", card.id, error.message)
                    telemetry.ready.remove(card.id)
                else:
                    made.append(StreamLane(card, [model] * slots, telemetry, max_queue_cost=max_queue_cost))
        return made

    def transcriber_lane(card: ModelCard, model: Transcriber) -> TranscriberLane:
        return BatchLane(
            card,
            [model] * (1 if model.batches else settings.transcribe_slots),
            telemetry,
            max_batch_cost=settings.transcribe_batch_seconds if model.batches else 0,
            max_queue_cost=settings.max_queue_audio_seconds,
            max_sessions=settings.max_recordings,
            prepares=model.batches,
        )

    transcribers = [
        transcriber_lane(card, await load(card, settings, LOADERS, telemetry))
        for card in rows
        if card.task == "transcribe"
    ]
    synthesizers = await lanes("synthesize", settings.synthesize_slots, settings.max_queue_characters)
    enhancers = await lanes("enhance", settings.enhance_slots, settings.max_queue_audio_seconds)
    tellers = {
        task: [
            BatchLane(
                card,
                [await load(card, settings, LOADERS, telemetry)],
                telemetry,
                max_batch_cost=0,
                max_queue_cost=max_queue_cost,
                prepares=False,
            )
            for card in rows
            if card.task == task
        ]
        for task, max_queue_cost in (
            ("align", settings.max_queue_audio_seconds),
            ("read_sentiment", settings.max_queue_characters),
            ("recognize_emotion", settings.max_queue_audio_seconds),
            ("diarize", settings.max_queue_audio_seconds),
        )
    }
    encoders: list[EncoderLane] = []
    tensors: dict[str, TensorLane] = {}
    for card in rows:
        if card.task == "embed_speaker":
            encoder: SpeakerEncoder = await load(card, settings, LOADERS, telemetry)
            encoders.append(
                BatchLane(
                    card,
                    [encoder] * settings.threads,
                    telemetry,
                    max_batch_cost=settings.voice_batch_windows,
                    max_queue_cost=settings.max_queue_voice_windows,
                )
            )
            network = card.model_copy(update={"id": f"{card.id}-network"})  # metrics of its own
            tensors[card.id] = TensorLane(network, [encoder.backend], telemetry)
    listening = next(card for card in rows if card.task == "detect_speech")
    detector: SpeechDetector = await load(listening, settings, LOADERS, telemetry)
    telemetry.ready.labels(listening.id).set(True)
    store, readers = ObjectStore(settings.object_store_url), Readers(settings.catalogue)
    recordings, transcription = Recordings(store, settings), Transcription(Models(transcribers), detector)
    references, dictation = References(recordings, detector), Dictation(transcription)
    voices = Voices(Models(synthesizers), store, references, dictation.write_down, readers, settings)
    enhancement = Enhancement(Models(enhancers), detector, store, settings)
    assessor = Assessor(recordings, transcription, settings.max_text_characters)
    emotions = EmotionAnalysis(
        recordings, transcription, Models(tellers["read_sentiment"]), Models(tellers["recognize_emotion"])
    )
    live = LiveTranscription(Models(transcribers), detector, settings)
    alignment = Alignment(
        Models(tellers["align"]),
        Models(transcribers),
        transcription,
        detector,
        recordings,
        settings.max_transcript_characters,
    )
    diarization = Diarization(
        recordings,
        [*map(TalkListener, tellers["diarize"]), *(VoiceListener(lane, detector) for lane in encoders)],
        settings.max_speakers,
    )
    return Deployment(
        add=add_SpeechServiceServicer_to_server,
        servicer=SpeechService(
            recordings,
            transcription,
            Synthesis(voices, readers, settings),
            voices,
            enhancement,
            Sounds(store, settings),
            assessor,
            emotions,
            live,
            alignment,
            diarization,
            settings,
        ),
        descriptor=pb.DESCRIPTOR.services_by_name["SpeechService"],
        lanes=(
            *transcribers,
            *synthesizers,
            *enhancers,
            *tellers["align"],
            *tellers["read_sentiment"],
            *tellers["recognize_emotion"],
            *tellers["diarize"],
            *encoders,
        ),
        tensors=tensors,
        drain=live.drain,
    )
