"""VoiceCatalogue made of recordings, over real gRPC, on the fakes: whatever is not silent is speech to them."""

import numpy as np
import pytest
from polyphony.speech.v1.synthesis_pb2 import SynthesizeRequest
from polyphony.speech.v1.voices_pb2 import CreateVoiceRequest, DeleteVoiceRequest, ListVoicesRequest
from polyphony.type.v1.media_pb2 import Media

from servekit.context import RequestContext, enter
from servekit.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, TooLarge, Unimplemented
from servekit.media.audio_encoder import encode_audio
from services.speech.settings import SpeechSettings

STATEMENT = "Anna, 1 May, in writing"


def sound(seconds, silence=0.0, seed=0):
    noise = np.random.default_rng(seed).uniform(-0.3, 0.3, int(seconds * 16_000)).astype(np.float32)
    quiet = np.zeros(int(silence * 16_000), np.float32)
    return Media(inline=encode_audio(np.concatenate([quiet, noise, quiet]), "audio/flac", 16_000))


def asking(**more):
    fields = {
        "name": "anna",
        "reference_audio": sound(4.0),
        "consent": True,
        "consent_statement": "Anna, 1 May, in writing",
    }
    return CreateVoiceRequest(**(fields | more))


@pytest.fixture
def settings(tmp_path):
    return SpeechSettings(
        profile="fake",
        database_url="memory:",
        home=tmp_path,
        port=0,
        metrics_port=0,
        threads=1,
        max_voices=2,
        drain_timeout_seconds=1.0,
    )


@pytest.fixture
async def stub(stub):
    enter(RequestContext(tenant="one"))
    return stub


async def names(stub, model=""):
    return [voice.name for voice in (await stub.ListVoices(ListVoicesRequest(model=model))).voices]


async def speak(stub, **fields):
    events = [event async for event in stub.Synthesize(SynthesizeRequest(**fields))]
    return events[0].started, b"".join(event.chunk for event in events)


async def test_a_models_own_voices_are_listed_and_the_models_are_checked(stub):
    assert await names(stub) == await names(stub, "fake-synthesizer") == ["low", "high"]
    with pytest.raises(NotFound):
        await names(stub, "gpt-9")


async def test_a_voice_is_made_spoken_with_listed_and_deleted(stub, settings):
    made = (await stub.CreateVoice(asking(reference_text="Good morning."))).voice
    assert (made.name, made.model, list(made.languages)) == ("anna", "fake-synthesizer", ["en", "zh"])
    assert made.create_time.seconds > 1_700_000_000
    assert await names(stub) == ["low", "high", "anna"]
    started, hers = await speak(stub, text="One two.", voice="anna")
    assert started.voice == "anna"
    assert hers != (await speak(stub, text="One two."))[1]
    assert (await speak(stub, text="你好。", voice="anna"))[1]
    await stub.DeleteVoice(DeleteVoiceRequest(name="anna"))
    assert await names(stub) == ["low", "high"]
    assert not list((settings.home / "data/objects/one/blobs/voice").iterdir())
    with pytest.raises(NotFound):
        await speak(stub, text="One two.", voice="anna")


async def test_a_recording_without_a_text_is_transcribed(stub, records):
    await stub.CreateVoice(asking())
    record = await records.get("one", "voice", "anna")
    assert record["language"] == "en"
    assert record["text"]
    assert "Anna, 1 May" in record["consent_statement"]


async def test_another_tenants_voice_is_not_there(stub):
    await stub.CreateVoice(asking())
    enter(RequestContext(tenant="two"))
    assert await names(stub) == ["low", "high"]
    with pytest.raises(NotFound):
        await speak(stub, text="One.", voice="anna")
    with pytest.raises(NotFound):
        await stub.DeleteVoice(DeleteVoiceRequest(name="anna"))


async def test_a_name_is_given_once_and_not_for_ever(stub):
    await stub.CreateVoice(asking())
    with pytest.raises(AlreadyExists) as raised:
        await stub.CreateVoice(asking())
    assert raised.value.field == "name"
    with pytest.raises(AlreadyExists):
        await stub.CreateVoice(asking(name="high"))
    await stub.DeleteVoice(DeleteVoiceRequest(name="anna"))
    await stub.CreateVoice(asking())


async def test_a_recording_that_two_voices_share_stays_with_the_second(stub):
    await stub.CreateVoice(asking())
    await stub.CreateVoice(asking(name="berta"))
    with pytest.raises(FailedPrecondition):
        await stub.CreateVoice(asking(name="clara"))
    await stub.DeleteVoice(DeleteVoiceRequest(name="anna"))
    assert (await speak(stub, text="One.", voice="berta"))[1]


@pytest.mark.parametrize("fields", [{}, {"model": 5}])
async def test_a_record_of_another_release_stops_no_other_voice_and_can_be_deleted(stub, records, fields):
    await records.create("one", "voice", "anna", fields)
    assert await names(stub) == ["low", "high"]
    with pytest.raises(FailedPrecondition, match="delete it and create it again") as raised:
        await speak(stub, text="One.", voice="anna")
    assert raised.value.field == "voice"
    with pytest.raises(AlreadyExists):
        await stub.CreateVoice(asking())
    await stub.CreateVoice(asking(name="berta"))
    await stub.DeleteVoice(DeleteVoiceRequest(name="anna"))
    await stub.CreateVoice(asking())
    assert await names(stub) == ["low", "high", "anna", "berta"]


async def test_a_voice_without_its_recording_is_damaged(stub, settings):
    await stub.CreateVoice(asking())
    for path in (settings.home / "data/objects/one/blobs/voice").iterdir():
        path.unlink()
    with pytest.raises(FailedPrecondition, match="delete it and create it again"):
        await speak(stub, text="One.", voice="anna")
    await stub.DeleteVoice(DeleteVoiceRequest(name="anna"))
    assert await names(stub) == ["low", "high"]


@pytest.mark.parametrize(
    ("fields", "error", "field", "says"),
    [
        ({"name": "a b"}, InvalidArgument, "name", "letters"),
        ({"name": "../up"}, InvalidArgument, "name", "letters"),
        ({"name": "x" * 65}, InvalidArgument, "name", "64"),
        ({"consent": False}, InvalidArgument, "consent", ""),
        ({"consent_statement": ""}, InvalidArgument, "consent_statement", ""),
        ({"consent_statement": "  "}, InvalidArgument, "consent_statement", "who agreed"),
        ({"consent_statement": "x" * 2001}, TooLarge, "consent_statement", "2000"),
        ({"reference_audio": sound(0.3)}, InvalidArgument, "reference_audio", r"3 to 30 s of speech, got 0\.3 s"),
        ({"reference_audio": sound(31)}, InvalidArgument, "reference_audio", r"31\.\d s"),
        ({"reference_audio": sound(5, silence=40)}, InvalidArgument, "reference_audio", "at most 60 s long"),
        ({"reference_audio": Media(inline=b"no sound")}, InvalidArgument, "reference_audio", ""),
        ({"language": "fr"}, InvalidArgument, "language", "en, zh"),
        ({"model": "gpt-9"}, NotFound, "model", ""),
    ],
)
async def test_what_cannot_be_made_is_named(stub, fields, error, field, says):
    with pytest.raises(error, match=says or None) as raised:
        await stub.CreateVoice(asking(**fields))
    assert raised.value.field.startswith(field)
    assert await names(stub) == ["low", "high"]


async def test_silence_has_no_speech(stub):
    quiet = Media(inline=encode_audio(np.zeros(64_000, np.float32), "audio/flac", 16_000))
    with pytest.raises(InvalidArgument, match=r"got 0\.0 s"):
        await stub.CreateVoice(asking(reference_audio=quiet))


class TestWithoutCloning:
    @pytest.fixture
    def settings(self, tmp_path):
        return SpeechSettings(
            profile="fake", home=tmp_path, port=0, metrics_port=0, threads=1, drain_timeout_seconds=1.0,
            model_options={"clones": False},
        )  # fmt: skip

    async def test_says_which_profiles_can(self, stub):
        with pytest.raises(Unimplemented, match=r"that does: gpu-voices$"):
            await stub.CreateVoice(asking())
