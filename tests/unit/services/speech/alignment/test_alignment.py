"""Texts aligned with recordings: one window at once, long ones by what is heard."""

import time

import numpy as np
import pytest
from polyphony.speech.v1.alignment_pb2 import AlignRequest
from polyphony.type.v1.media_pb2 import Media

from servekit.context import CancellationToken, RequestContext, enter
from servekit.errors import InvalidArgument, NotFound, TooLarge, UnsupportedMedia
from servekit.media.audio_encoder import encode_audio
from servekit.media.objects import ObjectStore
from servekit.models.catalogue import ModelSpec
from servekit.ops.telemetry import Telemetry
from servekit.scheduling.batch import BatchScheduler
from servekit.tasks.repository import Models
from services.speech.alignment.alignment import ForcedAlignment
from services.speech.alignment.models.fake import FakeAligner
from services.speech.audio.recording import Recordings
from services.speech.settings import SpeechSettings
from services.speech.transcription import RecognizedWord, Segment, WindowResult
from services.speech.transcription.transcription import LongFormTranscriber
from services.speech.voice_activity.models.fake import FakeSpeechDetector
from tests.unit.services.speech.doubles import TranscriberDouble

RATE = 16_000
WORDS = "alfa bravo charlie delta echo foxtrot golf hotel india juliett kilo lima mike november oscar papa"
ALPHABET = WORDS.split()
QUIETEST = 20
SECOND = 1.25  # of a word


def spec(task):
    return ModelSpec(id=task, task=task, services=("speech",), runtime="t", title="t", licence="CC0-1.0", memory_mb=1)


def sound(levels):
    """A word a level, each as loud as its number says, in `SECOND` seconds; 0 is silence."""
    samples = np.repeat(np.asarray(levels, np.float32) / 100, int(SECOND * RATE))
    return Media(inline=encode_audio(samples, "audio/flac", RATE))


def said(numbers):
    """Some of the alphabet, spoken."""
    return sound([number + QUIETEST for number in numbers])


class ScriptedTranscriber(TranscriberDouble):
    """Hears the words of the alphabet by how loud they are; told a text, shares the window out among its words."""

    def __init__(self):
        self.windows = []
        self.mishears = {}
        self.longest = 400

    def prepare(self, request):
        if len(request.text) > self.longest:
            raise TooLarge("too long", field="text")
        return request

    def run(self, items, cancellation):
        return [self.transcribe_window(window) for window in items]

    def transcribe_window(self, window):
        self.windows.append(window)
        language = window.options.language or "en"
        if window.text:
            texts = window.text.split(" ")
            each = window.seconds / len(texts)
            words = [RecognizedWord(i * each, (i + 1) * each, text, 0.7) for i, text in enumerate(texts)]
        else:
            step = int(SECOND * RATE)
            numbers = np.round(window.samples[step // 2 :: step] * 100).astype(int) - QUIETEST
            texts = [ALPHABET[number] for number in numbers]
            words = [
                RecognizedWord(i * SECOND, (i + 1) * SECOND, self.mishears.get(text, text), 0.9)
                for i, text in enumerate(texts)
            ]
        segment = Segment(0, window.seconds, " ".join(word.text for word in words), -0.1, 0.0, words=tuple(words))
        return WindowResult(language, 0.8, (segment,))


@pytest.fixture
def transcriber():
    return ScriptedTranscriber()


@pytest.fixture
async def make(transcriber, tmp_path):
    """Makes an alignment, with an aligner or without, and with other transcribers than the default."""
    settings, schedulers = SpeechSettings(), []

    async def scheduler(task, model):
        own = BatchScheduler(
            spec(task), [model], Telemetry(settings), max_batch_cost=0, max_queue_cost=2000, prepares=False
        )
        await own.start()
        schedulers.append(own)
        return own

    async def make(aligner=None, **others):
        named = {"transcribe": transcriber, **others}
        transcribers = Models([await scheduler(name, model) for name, model in named.items()])
        aligners = Models([await scheduler("align", aligner)] if aligner else [])
        detector, recordings = FakeSpeechDetector(), Recordings(ObjectStore(str(tmp_path)), settings)
        return ForcedAlignment(
            aligners, transcribers, LongFormTranscriber(transcribers, detector), detector, recordings, 1000
        )

    enter(RequestContext(request_id="r", cancellation=CancellationToken(time.monotonic() + 30)))
    yield make
    for own in schedulers:
        await own.close()


def times(response):
    return [(word.time.start_seconds, word.time.end_seconds) for word in response.words]


async def test_a_short_recording_is_aligned_at_once(make, transcriber):
    text = "Alfa, bravo!\ncharlie — “delta”"
    response = await (await make()).align(AlignRequest(audio=said([0, 1, 2, 3]), text=text))
    assert [(word.text, word.line) for word in response.words] == [
        ("Alfa,", 0), ("bravo!", 0), ("charlie —", 1), ("“delta”", 1)
    ]  # fmt: skip
    assert times(response)[0] == pytest.approx((0, 1.0), abs=0.3)
    assert all(word.confidence > 0.5 for word in response.words)
    assert (response.duration_seconds, response.language, response.model) == (5.0, "en", "transcribe")
    assert [window.text for window in transcriber.windows] == ["Alfa, bravo! charlie — “delta”"]


async def test_a_long_recording_is_aligned_by_its_transcript(make, transcriber):
    numbers = [*range(16), *range(16)] * 2
    words = [ALPHABET[number] for number in numbers]
    transcriber.mishears = {"golf": "wolf"}
    response = await (await make()).align(AlignRequest(audio=said(numbers), text=" ".join(words), language="en"))
    assert [word.text for word in response.words] == words
    starts = [start for start, _ in times(response)]
    assert starts == pytest.approx([SECOND * number for number in range(len(words))], abs=0.2)
    told = [window.text for window in transcriber.windows if window.text]
    assert all("golf" in text for text in told)  # what was heard as it is written is not asked for again
    assert len(told) < len(transcriber.windows)


async def test_words_that_nobody_says_have_no_confidence_but_a_time(make, transcriber):
    numbers = list(range(16)) * 2
    words = [ALPHABET[number] for number in numbers]
    text = " ".join([*words[:10], *["unsaid"] * 90, *words[10:]])
    transcriber.longest = 300
    response = await (await make()).align(AlignRequest(audio=said(numbers), text=text))
    assert len(response.words) == len(numbers) + 90
    assert sum(word.confidence == 0 for word in response.words) >= 90
    flat = [moment for pair in times(response) for moment in pair]
    assert flat == sorted(flat)
    assert flat[0] >= 0
    assert flat[-1] <= response.duration_seconds


@pytest.mark.parametrize("numbers", [range(4), [*range(16)] * 2])
async def test_another_text_is_no_error(make, numbers):
    text = " ".join(["quite", "another", "thing"] * 5)
    response = await (await make()).align(AlignRequest(audio=said(numbers), text=text))
    assert len(response.words) == 15
    flat = [moment for pair in times(response) for moment in pair]
    assert flat == sorted(flat)


@pytest.mark.parametrize("words", [4, 64])
async def test_where_nobody_speaks_no_time_is_made_up(make, transcriber, words):
    alignment = await make()
    with pytest.raises(InvalidArgument, match="must contain speech") as refused:
        await alignment.align(AlignRequest(audio=sound([0] * words), text="alfa bravo"))
    assert refused.value.field == "audio"
    assert not transcriber.windows


async def test_an_aligner_is_asked_where_there_is_one(make, transcriber):
    alignment = await make(FakeAligner(spec("align")))
    response = await alignment.align(AlignRequest(audio=said([0, 1]), text="alfa bravo", language="en"))
    assert (response.model, response.language, transcriber.windows) == ("align", "en", [])
    assert times(response) == [(0, pytest.approx(10 / 9)), (pytest.approx(10 / 9), 2.5)]
    response = await alignment.align(AlignRequest(audio=said([0, 1]), text="alfa bravo", model="transcribe"))
    assert response.model == "transcribe"
    response = await alignment.align(AlignRequest(audio=said([0, 1]), text="alfa bravo", language="yue"))
    assert response.model == "transcribe"  # the aligner does not know it
    with pytest.raises(InvalidArgument) as refused:
        await alignment.align(AlignRequest(audio=said([0]), text="alfa", language="yue", model="align"))
    assert refused.value.field == "language"


async def test_a_long_recording_is_transcribed_by_the_transcriber_that_the_request_names(make, transcriber):
    numbers, other = [*range(16)] * 2, ScriptedTranscriber()
    text = " ".join(ALPHABET[number] for number in numbers)
    alignment = await make(FakeAligner(spec("align")), other=other)
    for named, used in (("other", other), ("", transcriber)):
        response = await alignment.align(AlignRequest(audio=said(numbers), text=text, model="align", transcriber=named))
        assert response.model == "align"
        assert used.windows
        used.windows.clear()
    assert not other.windows


@pytest.mark.parametrize(
    ("request_", "error", "field"),
    [
        ({"text": ""}, InvalidArgument, "text"),
        ({"text": "?! — …"}, InvalidArgument, "text"),
        ({"text": "a" * 1001}, TooLarge, "text"),
        ({"text": "alfa", "language": "xx"}, InvalidArgument, "language"),
        ({"text": "alfa", "model": "none"}, NotFound, "model"),
        ({"text": "alfa", "transcriber": "none"}, NotFound, "transcriber"),
        ({"text": "alfa", "audio": Media(inline=b"no sound")}, UnsupportedMedia, "audio"),
    ],
)
async def test_what_cannot_be_aligned_is_refused(make, request_, error, field):
    alignment = await make()
    with pytest.raises(error) as refused:
        await alignment.align(AlignRequest(**{"audio": said([0]), **request_}))
    assert refused.value.field == field
