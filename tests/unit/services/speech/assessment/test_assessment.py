"""Assess, with a transcription that hears what it is told to."""

import numpy as np
import pytest
from polyphony.speech.v1 import assessment_pb2 as pb
from polyphony.type.v1.media_pb2 import Media

from servekit.errors import InvalidArgument, TooLarge, UnsupportedMedia
from servekit.media.audio_encoder import encode_audio
from servekit.media.objects import ObjectStore
from services.speech.assessment.assessment import Assessor
from services.speech.audio.recording import Recordings
from services.speech.settings import SpeechSettings
from services.speech.transcription import RecognizedWord, Segment
from services.speech.transcription.transcription import TranscriptFinished, TranscriptProgress, TranscriptStarted

SOUND = Media(inline=encode_audio(np.zeros(16_000, np.float32), "audio/wav", 16_000))


class Hears:
    """A transcription of fixed words, half a second each."""

    def __init__(self, *phrases):
        self.phrases = phrases
        self.told = []

    async def transcribe(self, recording, options, model=""):
        self.told.append((options, model))
        async for _ in recording.chunks():
            pass
        yield TranscriptStarted("en", 0.9, model or "listener")
        at = 0.0
        for phrase in self.phrases:
            words = [RecognizedWord(at + i / 2, at + (i + 1) / 2, text, 0.8) for i, text in enumerate(phrase.split())]
            yield TranscriptProgress(at, 1.0)
            yield Segment(words[0].start, words[-1].end, phrase, -0.1, 0.0, words=tuple(words))
            at = words[-1].end + 1.0
        yield TranscriptFinished(1.0, 1.0)


@pytest.fixture
def assessor(tmp_path):
    settings = SpeechSettings(home=tmp_path)

    def build(*phrases):
        hears = Hears(*phrases)
        return Assessor(Recordings(ObjectStore(settings.object_store_url), settings), hears, 100), hears

    return build


async def test_a_learner_is_assessed(assessor):
    one, hears = assessor("the cat", "sat in mat")
    found = await one.assess(pb.AssessRequest(audio=SOUND, reference_text="The cat sat on a mat.", language="en"))
    verdicts = [(pb.WordVerdict.Name(word.verdict)[13:], word.text, word.recognized_text) for word in found.words]
    assert verdicts == [
        ("CORRECT", "The", "the"),
        ("CORRECT", "cat", "cat"),
        ("CORRECT", "sat", "sat"),
        ("SUBSTITUTION", "on", "in"),
        ("OMISSION", "a", ""),
        ("CORRECT", "mat.", "mat"),
    ]
    assert [word.HasField("time") for word in found.words] == [True, True, True, True, False, True]
    assert (found.words[1].time.start_seconds, found.words[1].time.end_seconds) == (0.5, 1.0)
    assert found.accuracy == pytest.approx(80)
    assert found.completeness == pytest.approx(100 * 4 / 6)
    assert [(pause.start_seconds, pause.end_seconds) for pause in found.pauses] == [(1.0, 2.0)]
    assert (found.transcript, found.language, found.model) == ("the cat sat in mat", "en", "listener")
    ((options, _),) = hears.told
    assert (options.language, options.word_times, options.prompt) == ("en", True, "")


async def test_silence_is_not_an_error(assessor):
    one, _ = assessor()
    found = await one.assess(pb.AssessRequest(audio=SOUND, reference_text="The cat."))
    assert {word.verdict for word in found.words} == {pb.WORD_VERDICT_OMISSION}
    assert found.overall == 0


@pytest.mark.parametrize(("text", "error"), [("...", InvalidArgument), ("🙂", InvalidArgument), ("a " * 60, TooLarge)])
async def test_an_unpronounceable_text_is_refused_before_the_recording_is_transcribed(assessor, text, error):
    one, hears = assessor("the cat")
    with pytest.raises(error) as caught:
        await one.assess(pb.AssessRequest(audio=SOUND, reference_text=text))
    assert caught.value.field == "reference_text"
    assert not hears.told


async def test_what_is_no_recording_is_said_so(assessor):
    one, _ = assessor("the cat")
    with pytest.raises(UnsupportedMedia) as caught:
        await one.assess(pb.AssessRequest(audio=Media(inline=b"text"), reference_text="the cat"))
    assert caught.value.field == "audio"
