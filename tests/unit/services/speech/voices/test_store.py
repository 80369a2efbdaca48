"""Voices as they are kept, where another replica or a failing store comes between."""

import asyncio

import pytest

from servekit.media.objects import ObjectStore
from servekit.rpc.context import RequestContext, enter
from servekit.rpc.errors import AlreadyExists, Unavailable
from services.speech.voices.store import VoiceRecord, VoiceStore

RECORD = VoiceRecord("model", "en", "Good morning.", 4.0, "Anna, 1 May, in writing", 1_700_000_000.0)


@pytest.fixture
async def objects(tmp_path):
    enter(RequestContext(tenant="one"))
    return ObjectStore(str(tmp_path))


def recordings(folder):
    return list((folder / "one" / "objects").iterdir())


async def test_of_two_replicas_one_gives_the_name(objects, tmp_path):
    async def make(number):
        return await VoiceStore(ObjectStore(str(tmp_path)), 9).add("anna", RECORD, b"%d" % number)

    made = await asyncio.gather(*map(make, range(4)), return_exceptions=True)
    refused = [answer for answer in made if isinstance(answer, AlreadyExists)]
    assert len(refused) == 3
    assert {error.field for error in refused} == {"name"}
    (kept,) = [answer for answer in made if isinstance(answer, VoiceRecord)]
    record, recording = await VoiceStore(objects, 9).get("anna")
    assert record == kept
    assert recording.isdigit()
    assert len(recordings(tmp_path)) == 1


@pytest.mark.parametrize("failure", [Unavailable("no answer"), asyncio.CancelledError()])
async def test_a_recording_without_a_voice_is_not_kept(objects, tmp_path, monkeypatch, failure):
    async def fail(*_):
        raise failure

    monkeypatch.setattr(objects, "create_record", fail)
    with pytest.raises(type(failure)):
        await VoiceStore(objects, 9).add("anna", RECORD, b"sound")
    assert not recordings(tmp_path)


async def test_a_recording_stays_with_the_voice_that_has_it_already(objects, tmp_path, monkeypatch):
    store = VoiceStore(objects, 9)
    await store.add("anna", RECORD, b"sound")

    async def fail(*_):
        raise Unavailable("no answer")

    monkeypatch.setattr(objects, "create_record", fail)
    with pytest.raises(Unavailable):
        await store.add("berta", RECORD, b"sound")
    assert (await store.get("anna"))[1] == b"sound"
