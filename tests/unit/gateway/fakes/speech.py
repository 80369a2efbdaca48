"""Hears, says and finds what it is told to."""

from polyphony.speech.v1 import alignment_pb2 as alignment
from polyphony.speech.v1 import anomaly_pb2 as sounds
from polyphony.speech.v1 import assessment_pb2 as assessment
from polyphony.speech.v1 import diarization_pb2 as speakers
from polyphony.speech.v1 import emotion_pb2 as emotion
from polyphony.speech.v1 import enhancement_pb2 as enhancement
from polyphony.speech.v1 import synthesis_pb2 as synthesis
from polyphony.speech.v1 import transcription_pb2 as transcription
from polyphony.speech.v1 import voices_pb2 as voices_pb
from polyphony.type.v1.time_span_pb2 import TimeSpan

from servekit.errors import NotFound

SERVICES = tuple(
    service
    for file in (alignment, sounds, assessment, speakers, emotion, enhancement, synthesis, transcription, voices_pb)
    for service in file.DESCRIPTOR.services_by_name.values()
)


class Speech:
    def __init__(self, orders):
        self.orders = orders

    async def Transcribe(self, request, context):
        await self.orders.obey("Transcribe", request)
        yield transcription.TranscribeResponse(
            started=transcription.TranscriptionStarted(language="en", model=request.model)
        )
        for number, word in enumerate(self.orders.words.split(". ") if self.orders.words else ()):
            segment = transcription.TranscriptSegment(text=word)
            segment.time.start_seconds, segment.time.end_seconds = number, number + 1
            yield transcription.TranscribeResponse(segment=segment)
        yield transcription.TranscribeResponse(finished=transcription.TranscriptionFinished(duration_seconds=2.5))

    async def StreamingTranscribe(self, requests, context):
        """A word for every piece that is not silent; a silent one ends the phrase, and so does a commit."""
        config = (await anext(requests)).config
        await self.orders.obey("StreamingTranscribe", config)
        yield transcription.StreamingTranscribeResponse(started=transcription.StreamingStarted(model=config.model))
        phrases, words, seconds, began = 0, [], 0.0, 0.0

        def final():
            time = TimeSpan(start_seconds=began, end_seconds=seconds)
            segment = transcription.TranscriptSegment(time=time, text=" ".join(words))
            words.clear()
            told = transcription.FinalTranscript(utterance=phrases - 1, segment=segment, language="en", latency_ms=250)
            return transcription.StreamingTranscribeResponse(final=told)

        async for request in requests:
            await self.orders.obey("piece", request)
            if any(request.audio):
                if not words:
                    began = seconds
                    told = transcription.UtteranceStarted(utterance=phrases, start_seconds=began)
                    yield transcription.StreamingTranscribeResponse(utterance_started=told)
                    phrases += 1
                words.append(f"w{len(words)}")
                stable, _, last = " ".join(words).rpartition("w")
                told = transcription.InterimTranscript(
                    utterance=phrases - 1, committed_text=stable.rstrip(), tentative_text="w" + last
                )
                yield transcription.StreamingTranscribeResponse(interim=told)
            seconds += len(request.audio) / 2 / config.sample_rate_hertz
            if words and not any(request.audio):
                yield final()
        if words:
            yield final()
        yield transcription.StreamingTranscribeResponse(
            finished=transcription.TranscriptionFinished(duration_seconds=seconds)
        )

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
        started = synthesis.SynthesisStarted(mime_type=request.mime_type, sample_rate_hertz=8000)
        yield synthesis.SynthesizeResponse(started=started)
        data = request.text.encode()
        size = 1
        if request.mime_type == "audio/pcm":  # samples of 16 bits
            size, data = 2, data + b" " * (len(data) % 2)
        for start in range(0, len(data), size):
            yield synthesis.SynthesizeResponse(chunk=data[start : start + size])
            await self.orders.obey("audio", request)
        yield synthesis.SynthesizeResponse(finished=synthesis.SynthesisFinished(duration_seconds=1))

    async def Assess(self, request, context):
        await self.orders.obey("Assess", request)
        right = assessment.AssessedWord(
            verdict=assessment.WORD_VERDICT_CORRECT, text="What", recognized_text="what", confidence=0.9
        )
        right.time.start_seconds, right.time.end_seconds = 0.5, 1.0
        missing = assessment.AssessedWord(verdict=assessment.WORD_VERDICT_OMISSION, text="now?")
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

    async def TrainAnomalyDetector(self, request, context):
        await self.orders.obey("TrainAnomalyDetector", request)
        labels = sorted({clip.label for clip in request.clips} - {""})
        model = sounds.AnomalyDetector(
            name=request.name, version=1, clip_count=len(request.clips), duration_seconds=9, classes=labels
        )
        model.threshold = 0.0 if labels else 1.5
        return sounds.TrainAnomalyDetectorResponse(anomaly_detector=model)

    async def ListAnomalyDetectors(self, request, context):
        await self.orders.obey("ListAnomalyDetectors", request)
        return sounds.ListAnomalyDetectorsResponse(
            anomaly_detectors=[sounds.AnomalyDetector(name="pump", version=2, threshold=1.5)]
        )

    async def DeleteAnomalyDetector(self, request, context):
        await self.orders.obey("DeleteAnomalyDetector", request)
        return sounds.DeleteAnomalyDetectorResponse()

    async def DetectAnomaly(self, request, context):
        await self.orders.obey("DetectAnomaly", request)
        answer = sounds.DetectAnomalyResponse(score=2.0, threshold=1.5, anomalous=True, version=3)
        answer.segments.add(score=2.0).time.end_seconds = 1.0
        return answer

    async def ClassifySound(self, request, context):
        await self.orders.obey("ClassifySound", request)
        alarm = sounds.SoundClass(label="alarm", probability=1.0)
        answer = sounds.ClassifySoundResponse(classes=[alarm], version=3)
        answer.segments.add(sound_class=alarm).time.end_seconds = 1.0
        return answer
