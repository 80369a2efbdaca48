"""Diarization over real gRPC, on fakes that tell voices by their pitch and on real voices with real models."""

from pathlib import Path

import numpy as np
import pytest
from polyphony.speech.v1.diarization_pb2 import DiarizeRequest, KnownSpeaker
from polyphony.type.v1.media_pb2 import Media
from pyannote.core import Annotation, Segment, Timeline
from pyannote.metrics.diarization import DiarizationErrorRate

from servekit.errors import InvalidArgument, NotFound, OutOfMemory, TooLarge, UnsupportedMedia
from servekit.media.audio import AudioLimits, decode_audio
from servekit.media.audio_encoder import encode_audio
from servekit.media.objects import ObjectStore
from servekit.models import catalogue
from servekit.models.backend import TensorSpec
from servekit.ops.telemetry import Telemetry
from servekit.scheduling.batch import BatchScheduler
from services.speech.audio.recording import Recordings
from services.speech.diarization.diarization import SpeakerDiarization
from services.speech.diarization.diarizers import ClusteringDiarizer
from services.speech.diarization.models import resemblyzer
from services.speech.service import build
from services.speech.settings import SpeechSettings
from services.speech.voice_activity.models import silero

RATE = 16_000
LOW, HIGH, SILENCE = 150.0, 700.0, 0.0
VOICES = "fake-speaker-encoder"
CANARY = Path(__file__).parents[5] / "evaluation" / "canary"


def tone(pitch, seconds):
    return 0.3 * np.sin(2 * np.pi * pitch * np.arange(int(seconds * RATE)) / RATE).astype(np.float32)


def media(samples):
    return Media(inline=encode_audio(samples, "audio/wav", RATE), mime_type="audio/wav")


def recording(*parts):
    return media(np.concatenate([tone(pitch, seconds) for pitch, seconds in parts]))


CONVERSATION = ((LOW, 4), (SILENCE, 1), (HIGH, 3), (SILENCE, 1), (LOW, 4), (SILENCE, 1), (HIGH, 5))


@pytest.fixture
def settings(tmp_path):
    return SpeechSettings(
        profile="fake", home=tmp_path, port=0, metrics_port=0, threads=1, max_audio_seconds=90, max_speakers=4
    )


async def test_speakers_are_separated_and_named_in_the_order_of_their_first_turns(stub):
    answer = await stub.Diarize(DiarizeRequest(audio=recording(*CONVERSATION), model=VOICES))
    assert answer.model == VOICES
    assert answer.duration_seconds == 19
    assert [turn.speaker for turn in answer.turns] == ["A", "B", "A", "B"]
    assert [(speaker.name, round(speaker.seconds)) for speaker in answer.speakers] == [("A", 8), ("B", 8)]
    times = [(turn.time.start_seconds, turn.time.end_seconds) for turn in answer.turns]
    assert np.abs(np.array(times) - [(0, 4), (5, 8), (9, 13), (14, 19)]).max() < 0.15
    assert all(turn.confidence > 0.9 for turn in answer.turns)
    assert answer == await stub.Diarize(DiarizeRequest(audio=recording(*CONVERSATION), model=VOICES))


async def test_a_turn_without_a_pause_ends_where_the_voice_changes(stub):
    answer = await stub.Diarize(DiarizeRequest(audio=recording((LOW, 6), (HIGH, 6), (LOW, 6)), model=VOICES))
    assert [turn.speaker for turn in answer.turns] == ["A", "B", "A"]
    assert [turn.time.end_seconds for turn in answer.turns] == pytest.approx([6, 12, 18], abs=0.3)


async def test_one_voice_is_one_speaker_even_with_pauses(stub):
    answer = await stub.Diarize(DiarizeRequest(audio=recording((LOW, 5), (SILENCE, 2), (LOW, 5)), model=VOICES))
    assert [speaker.name for speaker in answer.speakers] == ["A"]
    assert len(answer.turns) == 2


async def test_a_short_pause_does_not_end_a_turn(stub):
    answer = await stub.Diarize(DiarizeRequest(audio=recording((LOW, 5), (SILENCE, 0.5), (LOW, 5)), model=VOICES))
    assert len(answer.turns) == 1


async def test_known_speakers_are_called_by_their_names(stub):
    known = [
        KnownSpeaker(name="A", audio=recording((HIGH, 3))),
        KnownSpeaker(name="Nobody", audio=recording((3000.0, 3))),
    ]
    answer = await stub.Diarize(DiarizeRequest(audio=recording(*CONVERSATION), model=VOICES, known_speakers=known))
    assert [turn.speaker for turn in answer.turns] == ["B", "A", "B", "A"]


async def test_an_unknown_speaker_does_not_get_the_name_of_an_absent_known_one(stub):
    known = [KnownSpeaker(name="A", audio=recording((3000.0, 3))), KnownSpeaker(name="C", audio=recording((LOW, 3)))]
    answer = await stub.Diarize(DiarizeRequest(audio=recording(*CONVERSATION), model=VOICES, known_speakers=known))
    assert [turn.speaker for turn in answer.turns] == ["C", "B", "C", "B"]


async def test_the_default_is_the_model_that_hears_the_whole_recording(stub):
    answer = await stub.Diarize(DiarizeRequest(audio=recording((LOW, 5)), known_speakers=[]))
    assert answer.model == "fake-diarizer"
    assert [turn.speaker for turn in answer.turns] == ["A", "B", "A"]
    assert answer.duration_seconds == 5


@pytest.mark.parametrize("model", [VOICES, "fake-diarizer"])
async def test_in_silence_nobody_speaks(stub, model):
    answer = await stub.Diarize(DiarizeRequest(audio=recording((SILENCE, 3)), model=model))
    assert (list(answer.turns), list(answer.speakers), answer.duration_seconds) == ([], [], 3)


@pytest.mark.parametrize("model", [VOICES, "fake-diarizer"])
async def test_a_single_sample_is_no_error(stub, model):
    answer = await stub.Diarize(DiarizeRequest(audio=media(np.ones(1, np.float32) * 0.5), model=model))
    assert answer.duration_seconds < 0.001


@pytest.mark.parametrize(
    ("more", "error", "field"),
    [
        ({"model": "none"}, NotFound, "model"),
        ({"speakers": -1}, InvalidArgument, "speakers"),
        ({"speakers": 5}, InvalidArgument, "speakers"),
        ({"max_speakers": 5}, InvalidArgument, "max_speakers"),
        ({"audio": Media(inline=b"no sound")}, UnsupportedMedia, "audio"),
        ({"audio": recording((LOW, 100))}, TooLarge, "audio"),
        (
            {"known_speakers": [KnownSpeaker(name=" ", audio=recording((LOW, 2)))]},
            InvalidArgument,
            "known_speakers[0].name",
        ),
        (
            {"known_speakers": [KnownSpeaker(name="x" * 81, audio=recording((LOW, 2)))]},
            InvalidArgument,
            "known_speakers[0].name",
        ),
        (
            {"known_speakers": [KnownSpeaker(name="x", audio=recording((LOW, 2)))] * 2},
            InvalidArgument,
            "known_speakers[1].name",
        ),
        (
            {"known_speakers": [KnownSpeaker(name=str(n), audio=recording((LOW, 2))) for n in range(5)]},
            TooLarge,
            "known_speakers",
        ),
        (
            {"known_speakers": [KnownSpeaker(name="x", audio=recording((LOW, 0.3)))]},
            InvalidArgument,
            "known_speakers[0].audio",
        ),
        ({"known_speakers": [KnownSpeaker(name="x", audio=recording((LOW, 31)))]}, TooLarge, "known_speakers[0].audio"),
        (
            {"known_speakers": [KnownSpeaker(name="x", audio=recording((SILENCE, 3)))]},
            InvalidArgument,
            "known_speakers[0].audio",
        ),
    ],
)
async def test_bad_requests_are_refused_by_their_field(stub, more, error, field):
    with pytest.raises(error) as raised:
        await stub.Diarize(DiarizeRequest(**{"audio": recording((LOW, 3)), "model": VOICES} | more))
    assert raised.value.field == field


async def test_the_error_of_a_failing_model_is_returned(stub, models):
    models["embed_speaker"].faults.fail = "OUT_OF_MEMORY"
    with pytest.raises(OutOfMemory):
        await stub.Diarize(DiarizeRequest(audio=recording((LOW, 3)), model=VOICES))


async def test_the_network_answers_the_open_inference_protocol(serve, settings):
    seen = []

    async def build_and_show(settings, telemetry):
        service_spec = await build(settings, telemetry)
        seen.append(service_spec.models)
        return service_spec

    await serve(settings, build_and_show)
    [models] = seen
    async with models.acquire("fake-speaker-encoder") as scheduler:
        assert scheduler.backend.inputs[0] == TensorSpec("mel", np.dtype(np.float32), (-1, -1, 16))
        answer = await scheduler.infer({"mel": np.ones((3, 10, 16), np.float32)})
    assert answer["embedding"].shape == (3, 16)


@pytest.fixture(scope="module")
def real_settings():
    return SpeechSettings(threads=1)


@pytest.fixture
async def diarization(real_settings, tmp_path):
    """The production path on Silero and Resemblyzer."""
    spec = catalogue.model("resemblyzer")
    encoder = resemblyzer.load(spec, real_settings)
    scheduler = BatchScheduler(spec, [encoder], Telemetry(real_settings), max_batch_cost=32, max_queue_cost=10_000)
    await scheduler.start()
    detector = silero.load(catalogue.model("silero-vad"), real_settings)
    recordings = Recordings(ObjectStore(str(tmp_path)), real_settings)
    yield SpeakerDiarization(recordings, [ClusteringDiarizer(scheduler, detector)], 10)
    await scheduler.close()


def spoken(name):
    samples = decode_audio((CANARY / name).read_bytes(), AudioLimits(), "audio")
    return samples / np.sqrt(np.mean(np.square(samples))) * 0.06


def conversation(order):
    """Recordings after one another with half a second between, and who speaks when: their loud parts."""
    pause = np.zeros(RATE // 2, np.float32)
    samples, reference, at = [pause], Annotation(), 0.5
    for name in order:
        piece = spoken(name)
        [loud] = np.nonzero(np.abs(piece) > 0.02)
        who = "reader" if name.startswith("austen") else "hibari"
        reference[Segment(at + loud[0] / RATE, at + loud[-1] / RATE)] = who
        samples += [piece, pause]
        at += (len(piece) + len(pause)) / RATE
    return np.concatenate(samples), reference, at


def error_rate(answer, reference, seconds):
    """With the usual collar: a quarter of a second on either side of a boundary is not judged."""
    hypothesis = Annotation()
    for number, turn in enumerate(answer.turns):
        hypothesis[Segment(turn.time.start_seconds, turn.time.end_seconds), number] = turn.speaker
    return DiarizationErrorRate(collar=0.5)(reference, hypothesis, uem=Timeline([Segment(0, seconds)]))


async def test_two_real_voices_are_two_people(diarization):
    order = ("austen-1.opus", "garden.opus", "austen-3.opus", "pump.opus", "austen-4.opus")
    samples, reference, seconds = conversation(order)
    answer = await diarization.diarize(DiarizeRequest(audio=media(samples)))
    assert [speaker.name for speaker in answer.speakers] == ["A", "B"]
    assert error_rate(answer, reference, seconds) < 0.1
    known = KnownSpeaker(name="Jane", audio=media(spoken("austen-2.opus")))
    named = await diarization.diarize(DiarizeRequest(audio=media(samples), known_speakers=[known]))
    assert [speaker.name for speaker in named.speakers] == ["Jane", "A"]


async def test_a_real_voice_that_changes_sentence_is_one_person(diarization):
    samples, reference, seconds = conversation([f"austen-{number}.opus" for number in (1, 2, 3, 4)])
    answer = await diarization.diarize(DiarizeRequest(audio=media(samples)))
    assert [speaker.name for speaker in answer.speakers] == ["A"]
    assert error_rate(answer, reference, seconds) < 0.1
