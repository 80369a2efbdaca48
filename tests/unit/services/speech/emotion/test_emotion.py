"""AnalyzeEmotion, with a transcription that hears what it is told to, and schedulers that are real."""

import numpy as np
import pytest
from polyphony.speech.v1 import emotion_pb2 as pb
from polyphony.type.v1.media_pb2 import Media

from servekit.errors import NotFound
from servekit.media.audio_encoder import encode_audio
from servekit.media.objects import ObjectStore
from servekit.models.catalogue import model
from servekit.ops.telemetry import Telemetry
from servekit.scheduling.batch import BatchScheduler
from servekit.tasks.repository import Models
from services.speech.audio.recording import Recordings
from services.speech.emotion.emotion import EmotionAnalysis
from services.speech.emotion.models import vader
from services.speech.settings import SpeechSettings
from services.speech.transcription import Segment
from services.speech.transcription.transcription import TranscriptFinished, TranscriptStarted

RATE = 16_000


class Hears:
    """A transcription of fixed segments."""

    def __init__(self, language, *segments):
        self.language, self.segments = language, segments

    async def transcribe(self, recording, options, model=""):
        yield TranscriptStarted(options.language or self.language, 0.9, "listener")
        for start, end, text in self.segments:
            yield Segment(start, end, text, -0.1, 0.0)
        yield TranscriptFinished(1.0, 1.0)


class Loudness:
    """An acoustic model that takes what is loud for anger."""

    def __init__(self):
        self.heard = []

    def prepare(self, request):
        self.heard.append(len(request))
        return float(np.abs(request).max(initial=0.0))

    def run(self, items, cancellation):
        return [{"angry": level, "neutral": 1 - level} for level in items]

    def warm(self):
        pass

    def close(self):
        pass


def voice(pitch, seconds, level):
    phase = 2 * np.pi * pitch * np.arange(int(seconds * RATE)) / RATE
    return (level * sum(np.sin(number * phase) / number for number in range(1, 6))).astype(np.float32)


SAMPLES = np.concatenate([voice(120, 2.0, 0.02), np.zeros(RATE, np.float32), voice(220, 2.0, 0.4)])
SOUND = Media(inline=encode_audio(SAMPLES, "audio/wav", RATE))
SEGMENTS = (0.0, 2.0, "I am sad and lonely."), (3.0, 5.4, "I hate this terrible, awful, horrible noise!")


@pytest.fixture
async def analysis(tmp_path):
    settings = SpeechSettings(home=tmp_path)
    telemetry = Telemetry(settings)
    schedulers = [BatchScheduler(model("vader-en"), [vader.Vader()], telemetry, max_batch_cost=0, max_queue_cost=1e4)]
    acoustic = BatchScheduler(
        model("wav2vec2-large-superb-er"), [Loudness()], telemetry, max_batch_cost=0, max_queue_cost=1e4
    )
    for scheduler in (*schedulers, acoustic):
        await scheduler.start()

    def build(language="en", segments=SEGMENTS, recognizers=()):
        recordings = Recordings(ObjectStore(settings.object_store_url), settings)
        return EmotionAnalysis(
            recordings, Hears(language, *segments), Models(schedulers), Models(recognizers)
        ), acoustic

    yield build
    for scheduler in (*schedulers, acoustic):
        await scheduler.close()


async def test_words_and_prosody_tell_where_no_network_does(analysis):
    one, _ = analysis()
    found = await one.analyze(pb.AnalyzeEmotionRequest(audio=SOUND))
    assert found.basis == pb.EMOTION_BASIS_WORDS_AND_PROSODY
    quiet, loud = found.segments
    assert quiet.prosody.pitch_hertz == pytest.approx(120, rel=0.03)
    assert loud.prosody.pitch_hertz == pytest.approx(220, rel=0.03)
    assert loud.prosody.level_db - quiet.prosody.level_db == pytest.approx(20 * np.log10(20), abs=1)
    assert quiet.sentiment.score < 0 > loud.sentiment.score
    assert loud.sentiment.labels[0].label == "negative"
    assert loud.sentiment.basis == found.sentiment.basis == "vader-en"
    assert loud.prosody.words_per_second == pytest.approx(7 / 2.4)
    angry = [{one.label: one.probability for one in segment.emotions}["angry"] for segment in (quiet, loud)]
    assert angry[1] > angry[0]
    for emotions in (quiet.emotions, loud.emotions, found.emotions, found.sentiment.labels):
        assert sum(one.probability for one in emotions) == pytest.approx(1, abs=1e-5)
        assert [one.probability for one in emotions] == sorted((one.probability for one in emotions), reverse=True)


async def test_a_network_hears_each_segment(analysis):
    one, acoustic = analysis()
    two, _ = analysis(recognizers=[acoustic])
    found = await two.analyze(pb.AnalyzeEmotionRequest(audio=SOUND))
    assert (found.basis, found.model) == (pb.EMOTION_BASIS_ACOUSTIC_MODEL, "wav2vec2-large-superb-er")
    assert [segment.emotions[0].label for segment in found.segments] == ["neutral", "angry"]
    assert acoustic.model.heard == [2 * RATE, 2 * RATE], "the last segment ends with the recording"
    with pytest.raises(NotFound) as caught:
        await one.analyze(pb.AnalyzeEmotionRequest(audio=SOUND, model=acoustic.spec.id))
    assert caught.value.field == "model"


async def test_a_language_that_nobody_reads_has_no_sentiment(analysis):
    one, _ = analysis("ja", [(0.0, 2.0, "すばらしい")])
    found = await one.analyze(pb.AnalyzeEmotionRequest(audio=SOUND))
    assert (found.sentiment.score, found.sentiment.basis, len(found.sentiment.labels)) == (0, "", 0)
    assert found.segments[0].prosody.words_per_second == pytest.approx(2.5)


async def test_silence_has_no_emotion(analysis):
    one, _ = analysis("", [])
    found = await one.analyze(pb.AnalyzeEmotionRequest(audio=SOUND))
    assert not found.segments
    assert not found.emotions


async def test_a_long_segment_gives_its_last_half_minute_at_most(analysis):
    long = Media(inline=encode_audio(np.tile(voice(120, 1.0, 0.1), 45), "audio/wav", RATE))
    _, acoustic = analysis()
    one, _ = analysis(segments=[(0.0, 44.0, "hm"), (44.0, 60.0, "hm")], recognizers=[acoustic])
    await one.analyze(pb.AnalyzeEmotionRequest(audio=long))
    assert all(samples <= 31 * RATE for samples in acoustic.model.heard)
    assert len(acoustic.model.heard) == 2
