"""Hears, says and finds what it is told to."""

from polyphony.speech.v1 import alignment_pb2 as alignment
from polyphony.speech.v1 import assessment_pb2 as assessment
from polyphony.speech.v1 import emotion_pb2 as emotion
from polyphony.speech.v1 import enhancement_pb2 as enhancement
from polyphony.speech.v1 import sounds_pb2 as sounds
from polyphony.speech.v1 import speakers_pb2 as speakers
from polyphony.speech.v1 import speech_pb2 as speech
from polyphony.speech.v1 import voices_pb2 as voices_pb
from polyphony.speech.v1.speech_pb2_grpc import SpeechServiceServicer
from polyphony.type.v1.time_span_pb2 import TimeSpan

from servekit.rpc.errors import NotFound


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
        started = speech.SynthesisStarted(mime_type=request.mime_type, sample_rate_hertz=8000)
        yield speech.SynthesizeResponse(started=started)
        data = request.text.encode()
        size = 1
        if request.mime_type == "audio/pcm":  # samples of 16 bits
            size, data = 2, data + b" " * (len(data) % 2)
        for start in range(0, len(data), size):
            yield speech.SynthesizeResponse(chunk=data[start : start + size])
            await self.orders.obey("audio", request)
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
