"""A gateway over services that live in the test's own process, and do as they are told."""

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field

import grpc
import httpx
import numpy as np
import pytest
from polyphony.generation.v1 import generation_pb2 as text
from polyphony.generation.v1.generation_pb2_grpc import (
    GenerationServiceServicer,
    add_GenerationServiceServicer_to_server,
)
from polyphony.retrieval.v1 import retrieval_pb2 as retrieval
from polyphony.retrieval.v1.retrieval_pb2_grpc import RetrievalServiceServicer, add_RetrievalServiceServicer_to_server
from polyphony.speech.v1 import alignment_pb2 as alignment
from polyphony.speech.v1 import assessment_pb2 as assessment
from polyphony.speech.v1 import emotion_pb2 as emotion
from polyphony.speech.v1 import enhancement_pb2 as enhancement
from polyphony.speech.v1 import sounds_pb2 as sounds
from polyphony.speech.v1 import speakers_pb2 as speakers
from polyphony.speech.v1 import speech_pb2 as speech
from polyphony.speech.v1 import voices_pb2 as voices_pb
from polyphony.speech.v1.speech_pb2_grpc import SpeechServiceServicer, add_SpeechServiceServicer_to_server
from polyphony.type.v1.embedding_pb2 import Embedding
from polyphony.type.v1.time_span_pb2 import TimeSpan
from polyphony.vision.v1 import vision_pb2 as vision
from polyphony.vision.v1.vision_pb2_grpc import VisionServiceServicer, add_VisionServiceServicer_to_server

from gateway.app import build_app
from gateway.clients import Clients
from gateway.parts import Parts
from gateway.settings import GatewaySettings
from servekit.call import current
from servekit.errors import NotFound, ServeError, UnsupportedMedia
from servekit.interceptor import CallInterceptor
from servekit.telemetry import Telemetry


@dataclass
class Orders:
    """What the services do: how long each call takes, how it fails; and what they saw."""

    seconds: dict[str, float] = field(default_factory=dict)
    fail: dict[str, ServeError] = field(default_factory=dict)
    seen: list[tuple[str, str, object]] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    arrived: dict[str, asyncio.Event] = field(default_factory=lambda: defaultdict(asyncio.Event))
    left: asyncio.Event = field(default_factory=asyncio.Event)
    page: str = "Total: 42 euros"
    words: str = "What is the total?"
    answer: tuple[str, ...] = ("It is ", "42.")
    voices: list[voices_pb.Voice] = field(default_factory=list)

    async def obey(self, name, request):
        self.seen.append((name, current().tenant, request))
        self.arrived[name].set()
        try:
            await asyncio.sleep(self.seconds.get(name, 0))
        except asyncio.CancelledError:
            self.cancelled.append(name)
            self.left.set()
            raise
        if name in self.fail:
            raise self.fail[name]

    def requests(self, name):
        return [request for seen, _, request in self.seen if seen == name]


class Vision(VisionServiceServicer):
    def __init__(self, orders):
        self.orders = orders

    async def ReadText(self, request, context):
        await self.orders.obey("ReadText", request)
        if request.image.inline == b"not an image":
            raise UnsupportedMedia("not an image", field="image.inline")
        lines = [vision.TextLine(text=line, confidence=0.9) for line in self.orders.page.splitlines()]
        return vision.ReadTextResponse(lines=lines, width=10, height=20, model=request.model)


class Speech(SpeechServiceServicer):
    def __init__(self, orders):
        self.orders = orders

    async def Transcribe(self, request, context):
        await self.orders.obey("Transcribe", request)
        yield speech.TranscribeResponse(started=speech.TranscriptionStarted(language="en", model=request.model))
        for number, word in enumerate(self.orders.words.split(". ") if self.orders.words else ()):
            segment = speech.TranscriptSegment(text=word)
            segment.time.start_seconds, segment.time.end_seconds = number, number + 1
            yield speech.TranscribeResponse(segment=segment)
        yield speech.TranscribeResponse(finished=speech.TranscriptionFinished(duration_seconds=2.5))

    async def StreamingTranscribe(self, requests, context):
        """A word for every piece that is not silent; a silent one ends the phrase, and so does a commit."""
        config = (await anext(requests)).config
        await self.orders.obey("StreamingTranscribe", config)
        yield speech.StreamingTranscribeResponse(started=speech.StreamingStarted(model=config.model))
        phrases, words, seconds, began = 0, [], 0.0, 0.0

        def final():
            time = TimeSpan(start_seconds=began, end_seconds=seconds)
            segment = speech.TranscriptSegment(time=time, text=" ".join(words))
            words.clear()
            told = speech.FinalTranscript(utterance=phrases - 1, segment=segment, language="en", latency_ms=250)
            return speech.StreamingTranscribeResponse(final=told)

        async for request in requests:
            await self.orders.obey("piece", request)
            if any(request.audio):
                if not words:
                    began = seconds
                    told = speech.UtteranceStarted(utterance=phrases, start_seconds=began)
                    yield speech.StreamingTranscribeResponse(utterance_started=told)
                    phrases += 1
                words.append(f"w{len(words)}")
                stable, _, last = " ".join(words).rpartition("w")
                told = speech.PartialTranscript(
                    utterance=phrases - 1, stable_text=stable.rstrip(), unstable_text="w" + last
                )
                yield speech.StreamingTranscribeResponse(partial=told)
            seconds += len(request.audio) / 2 / config.sample_rate_hertz
            if words and not any(request.audio):
                yield final()
        if words:
            yield final()
        yield speech.StreamingTranscribeResponse(finished=speech.TranscriptionFinished(duration_seconds=seconds))

    async def Align(self, request, context):
        """Finds two words a second, whatever is said."""
        await self.orders.obey("Align", request)
        words = [(line, word) for line, row in enumerate(request.text.splitlines()) for word in row.split()]
        aligned = [
            alignment.AlignedWord(
                text=word, line=line, confidence=0.75, time=TimeSpan(start_seconds=n / 2, end_seconds=n / 2 + 0.5)
            )
            for n, (line, word) in enumerate(words)
        ]
        return alignment.AlignResponse(words=aligned, duration_seconds=9, language="en", model="fake-aligner")

    async def Synthesize(self, request, context):
        await self.orders.obey("Synthesize", request)
        yield speech.SynthesizeResponse(started=speech.SynthesisStarted(mime_type=request.mime_type))
        for byte in request.text.encode():
            yield speech.SynthesizeResponse(chunk=bytes([byte]))
        yield speech.SynthesizeResponse(finished=speech.SynthesisFinished(duration_seconds=1))

    async def Assess(self, request, context):
        await self.orders.obey("Assess", request)
        right = assessment.AssessedWord(
            verdict=assessment.WORD_VERDICT_RIGHT, text="What", heard="what", confidence=0.9
        )
        right.time.start_seconds, right.time.end_seconds = 0.5, 1.0
        missing = assessment.AssessedWord(verdict=assessment.WORD_VERDICT_MISSING, text="now?")
        scores = {"accuracy": 90, "fluency": 80, "completeness": 50, "overall": 70}
        return assessment.AssessResponse(words=[right, missing], transcript="what", model=request.model, **scores)

    async def Diarize(self, request, context):
        await self.orders.obey("Diarize", request)
        turn = speakers.SpeakerTurn(time=TimeSpan(start_seconds=0.5, end_seconds=2), speaker="A", confidence=0.75)
        total = speakers.Speaker(name="A", seconds=1.5)
        return speakers.DiarizeResponse(turns=[turn], speakers=[total], duration_seconds=3, model=request.model)

    async def AnalyzeEmotion(self, request, context):
        await self.orders.obey("AnalyzeEmotion", request)
        happy = [emotion.LabelProbability(label="happy", probability=0.75)]
        sentiment = emotion.Sentiment(labels=happy, score=0.5, basis="vader-en")
        segment = emotion.EmotionSegment(text="yes", emotions=happy, sentiment=sentiment)
        segment.prosody.pitch_hertz = 120
        basis = emotion.EMOTION_BASIS_WORDS_AND_PROSODY
        return emotion.AnalyzeEmotionResponse(segments=[segment], emotions=happy, sentiment=sentiment, basis=basis)

    async def ListVoices(self, request, context):
        await self.orders.obey("ListVoices", request)
        own = voices_pb.Voice(name="low", model="fake-synthesizer", languages=["en"])
        return voices_pb.ListVoicesResponse(voices=[own, *self.orders.voices])

    async def CreateVoice(self, request, context):
        await self.orders.obey("CreateVoice", request)
        voice = voices_pb.Voice(name=request.name, model="fake-synthesizer", languages=["en", "zh"])
        voice.create_time.seconds = 1_700_000_000
        self.orders.voices.append(voice)
        return voices_pb.CreateVoiceResponse(voice=voice)

    async def DeleteVoice(self, request, context):
        await self.orders.obey("DeleteVoice", request)
        if request.name not in [voice.name for voice in self.orders.voices]:
            raise NotFound("there is no such voice", field="name")
        return voices_pb.DeleteVoiceResponse()

    async def Enhance(self, request, context):
        await self.orders.obey("Enhance", request)
        started = enhancement.EnhancementStarted(mime_type=request.mime_type, sample_rate_hertz=48_000, model="filter")
        yield enhancement.EnhanceResponse(started=started)
        for byte in b"clean":
            yield enhancement.EnhanceResponse(chunk=bytes([byte]))
        finished = enhancement.EnhancementFinished(
            duration_before_seconds=3, duration_after_seconds=2, snr_before_db=5.25
        )
        finished.kept.add(start_seconds=0.5, end_seconds=2.5)
        yield enhancement.EnhanceResponse(finished=finished)

    async def FitSoundModel(self, request, context):
        await self.orders.obey("FitSoundModel", request)
        labels = sorted({clip.label for clip in request.clips} - {""})
        model = sounds.SoundModel(name=request.name, version=1, clips=len(request.clips), seconds=9, classes=labels)
        model.threshold = 0.0 if labels else 1.5
        return sounds.FitSoundModelResponse(model=model)

    async def ListSoundModels(self, request, context):
        await self.orders.obey("ListSoundModels", request)
        return sounds.ListSoundModelsResponse(models=[sounds.SoundModel(name="pump", version=2, threshold=1.5)])

    async def DeleteSoundModel(self, request, context):
        await self.orders.obey("DeleteSoundModel", request)
        return sounds.DeleteSoundModelResponse()

    async def ScoreSound(self, request, context):
        await self.orders.obey("ScoreSound", request)
        answer = sounds.ScoreSoundResponse(score=2.0, threshold=1.5, anomalous=True, version=3)
        answer.stretches.add(score=2.0).time.end_seconds = 1.0
        return answer

    async def ClassifySound(self, request, context):
        await self.orders.obey("ClassifySound", request)
        alarm = sounds.SoundClass(label="alarm", probability=1.0)
        answer = sounds.ClassifySoundResponse(classes=[alarm], version=3)
        answer.stretches.add(sound_class=alarm).time.end_seconds = 1.0
        return answer


class Generation(GenerationServiceServicer):
    def __init__(self, orders):
        self.orders = orders

    async def GenerateText(self, request, context):
        await self.orders.obey("GenerateText", request)
        yield text.GenerateTextResponse(started=text.TextStarted(model=request.model))
        for piece in self.orders.answer:
            yield text.GenerateTextResponse(delta=piece)
            await self.orders.obey("token", request)
        usage = text.TokenUsage(prompt_tokens=7, completion_tokens=2)
        yield text.GenerateTextResponse(finished=text.TextFinished(reason=text.TextFinished.REASON_STOP, usage=usage))


class Retrieval(RetrievalServiceServicer):
    """Finds every point of a collection, those that share words with the question first."""

    def __init__(self, orders):
        self.orders = orders
        self.points = {}

    def collection(self, name):
        key = (current().tenant, name)
        if key not in self.points:
            raise NotFound("there is no such collection", field="collection")
        return self.points[key]

    async def Embed(self, request, context):
        await self.orders.obey("Embed", request)
        rows = np.asarray([[len(entry.text), 1.0] for entry in request.inputs], "<f4")
        tensor = Embedding(data=rows.tobytes(), dtype=Embedding.DTYPE_FLOAT32, shape=rows.shape, space=request.model)
        return retrieval.EmbedResponse(embeddings=tensor, tokens=len(rows), model=request.model)

    async def CreateCollection(self, request, context):
        await self.orders.obey("CreateCollection", request)
        self.points[current().tenant, request.name] = {}
        return retrieval.CreateCollectionResponse(collection=retrieval.Collection(name=request.name))

    async def Upsert(self, request, context):
        await self.orders.obey("Upsert", request)
        self.collection(request.collection).update({point.id: point for point in request.points})
        return retrieval.UpsertResponse(written=len(request.points))

    async def Search(self, request, context):
        await self.orders.obey("Search", request)
        asked = set(request.text.lower().split())
        scored = [
            retrieval.ScoredPoint(point=point, score=len(asked & set(point.text.lower().split())))
            for point in self.collection(request.collection).values()
        ]
        best = sorted(scored, key=lambda hit: -hit.score)
        return retrieval.SearchResponse(points=best[: request.limit])

    async def Delete(self, request, context):
        await self.orders.obey("Delete", request)
        points = self.collection(request.collection)
        doomed = [key for key, point in points.items() if point.metadata["file_id"] == request.filter["file_id"]]
        for key in doomed:
            del points[key]
        return retrieval.DeleteResponse(deleted=len(doomed))


class Shelf:
    """Fetches what was put there."""

    def __init__(self):
        self.pages = {}

    async def fetch(self, url, field):
        return self.pages[url]


@pytest.fixture
def orders():
    return Orders()


@pytest.fixture
def shelf():
    return Shelf()


@pytest.fixture
def settings(tmp_path):
    return GatewaySettings(home=tmp_path, profile="fake", inline_bytes=1 << 16, default_seconds=5, chat_seconds=5)


@pytest.fixture
async def services(orders, settings):
    """The services' address."""
    server = grpc.aio.server(interceptors=[CallInterceptor(Telemetry(settings), {})])
    add_VisionServiceServicer_to_server(Vision(orders), server)
    add_SpeechServiceServicer_to_server(Speech(orders), server)
    add_GenerationServiceServicer_to_server(Generation(orders), server)
    add_RetrievalServiceServicer_to_server(Retrieval(orders), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield f"127.0.0.1:{port}"
    await server.stop(0)


@pytest.fixture
async def build(services, settings, shelf):
    """Puts a gateway together, with other settings if they are given."""
    clients = []

    def build(**changes):
        targets = dict.fromkeys(("vision_target", "speech_target", "generation_target", "retrieval_target"), services)
        own = settings.model_copy(update=targets | changes)
        telemetry = Telemetry(own)
        clients.append(Clients.connect(own, telemetry))
        return Parts.build(own, telemetry, clients[-1], shelf)

    yield build
    for client in clients:
        await client.close()


@pytest.fixture
def parts(build):
    return build()


@pytest.fixture
async def http(parts):
    transport = httpx.ASGITransport(build_app(parts))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        yield client
