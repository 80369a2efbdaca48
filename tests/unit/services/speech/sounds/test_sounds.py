"""Sound models over real gRPC, on made machines."""

import asyncio
import functools
import math

import numpy as np
import pytest
from polyphony.speech.v1.sounds_pb2 import (
    ClassifySoundRequest,
    DeleteSoundModelRequest,
    FitSoundModelRequest,
    ListSoundModelsRequest,
    ScoreSoundRequest,
    SoundClip,
)
from polyphony.type.v1.media_pb2 import Media

from evaluation.sounds import machine, wav
from servekit.call import Call, enter
from servekit.errors import FailedPrecondition, InvalidArgument, NotFound, TooLarge, Unavailable, UnsupportedMedia
from servekit.objects import ObjectStore
from services.speech.settings import SpeechSettings
from services.speech.sounds.features import FEATURES
from services.speech.sounds.models import NormalSounds
from services.speech.sounds.store import SoundRecord, SoundStore


@functools.cache
def media(condition, clip, seconds=3.0, **more):
    return Media(inline=wav(machine("motor", 0, condition, clip, seconds=seconds, **more)), mime_type="audio/wav")


def normal(clips, name="pump", **more):
    return FitSoundModelRequest(name=name, clips=[SoundClip(audio=media("normal", clip)) for clip in clips], **more)


def labelled(counts, name="state"):
    clips = [
        SoundClip(audio=media(condition, clip), label=condition)
        for condition, count in counts.items()
        for clip in range(count)
    ]
    return FitSoundModelRequest(name=name, clips=clips)


@pytest.fixture
def settings(tmp_path):
    return SpeechSettings(
        profile="fake", home=tmp_path, port=0, metrics_port=0, threads=1, drain_seconds=1.0, cached_sound_models=2,
        max_sound_clips=20, max_sound_seconds=40, max_sound_classes=3,
        max_sound_models=3, max_sound_versions=2,
    )  # fmt: skip


async def test_what_a_machine_sounds_like_and_when_it_does_not(stub):
    model = (await stub.FitSoundModel(normal(range(8)))).model
    assert (model.name, model.version, model.clips, list(model.classes)) == ("pump", 1, 8, [])
    assert model.seconds == pytest.approx(24.0)
    assert model.threshold > 0
    assert not model.HasField("macro_f1")
    assert model.create_time.seconds > 0
    well = await stub.ScoreSound(ScoreSoundRequest(name="pump", audio=media("normal", 20)))
    assert (well.anomalous, well.version) == (False, 1)
    assert well.threshold == model.threshold
    for fault in ("knocking", "alarm", "whine"):
        ill = await stub.ScoreSound(ScoreSoundRequest(name="pump", audio=media(fault, 0)))
        assert ill.anomalous
        assert ill.score >= ill.threshold > well.score
    spans = [(stretch.time.start_seconds, stretch.time.end_seconds) for stretch in ill.stretches]
    assert spans[0][0] == 0.0
    assert spans[-1][1] == pytest.approx(3.0)
    assert all(math.isfinite(stretch.score) for stretch in ill.stretches)


async def test_a_fault_is_told_when_it_is(stub):
    await stub.FitSoundModel(normal(range(8)))
    well, ill = machine("motor", 0, "normal", 30, seconds=5), machine("motor", 0, "alarm", 1, seconds=2)
    audio = Media(inline=wav(np.concatenate([well[:48_000], ill, well[48_000:]])))
    told = await stub.ScoreSound(ScoreSoundRequest(name="pump", audio=audio))
    scores = {stretch.time.start_seconds: stretch.score for stretch in told.stretches}
    assert 2.9 < max(scores, key=scores.__getitem__) < 5
    assert told.anomalous


async def test_classes_of_labelled_clips(stub):
    model = (await stub.FitSoundModel(labelled({"normal": 4, "knocking": 4, "alarm": 4}))).model
    assert list(model.classes) == ["alarm", "knocking", "normal"]
    assert model.macro_f1 > 0.6
    right = 0
    for condition in model.classes:
        for clip in (4, 5, 6):
            told = await stub.ClassifySound(ClassifySoundRequest(name="state", audio=media(condition, clip)))
            right += told.classes[0].label == condition
    assert right >= 6
    assert sum(row.probability for row in told.classes) == pytest.approx(1.0, abs=1e-5)
    assert [row.probability for row in told.classes] == sorted((row.probability for row in told.classes), reverse=True)
    assert told.stretches[0].sound_class.label
    assert told.version == 1


async def test_a_name_gets_versions_and_loses_them_together(stub):
    await stub.FitSoundModel(normal(range(8)))
    second = (await stub.FitSoundModel(normal(range(9), false_alarm_rate=0.1))).model
    assert (second.version, second.clips) == (2, 9)
    listed = (await stub.ListSoundModels(ListSoundModelsRequest())).models
    assert [(model.name, model.version) for model in listed] == [("pump", 2)]
    audio = media("normal", 20)
    assert (await stub.ScoreSound(ScoreSoundRequest(name="pump", audio=audio))).version == 2
    first = await stub.ScoreSound(ScoreSoundRequest(name="pump", audio=audio, version=1))
    assert first.version == 1
    assert first.threshold != second.threshold
    with pytest.raises(NotFound) as raised:
        await stub.ScoreSound(ScoreSoundRequest(name="pump", audio=audio, version=3))
    assert raised.value.field == "version"
    await stub.DeleteSoundModel(DeleteSoundModelRequest(name="pump"))
    for version in (0, 1):
        with pytest.raises(NotFound):
            await stub.ScoreSound(ScoreSoundRequest(name="pump", audio=audio, version=version))
    with pytest.raises(NotFound):
        await stub.DeleteSoundModel(DeleteSoundModelRequest(name="pump"))
    assert not (await stub.ListSoundModels(ListSoundModelsRequest())).models


async def test_fits_at_once_get_a_version_each(stub):
    answers = await asyncio.gather(*(stub.FitSoundModel(normal(range(7))) for _ in range(4)))
    assert sorted(answer.model.version for answer in answers) == [1, 2, 3, 4]


async def test_a_tenant_sees_its_own_alone(stub):
    enter(Call(tenant="one"))
    await stub.FitSoundModel(normal(range(7)))
    enter(Call(tenant="two"))
    request = ScoreSoundRequest(name="pump", audio=media("normal", 20))
    for call in (stub.ScoreSound(request), stub.DeleteSoundModel(DeleteSoundModelRequest(name="pump"))):
        with pytest.raises(NotFound):
            await call
    assert not (await stub.ListSoundModels(ListSoundModelsRequest())).models
    assert (await stub.FitSoundModel(normal(range(7)))).model.version == 1
    enter(Call(tenant="one"))
    assert (await stub.ScoreSound(request)).version == 1


async def test_each_kind_of_model_answers_its_own_question(stub):
    await stub.FitSoundModel(normal(range(7)))
    await stub.FitSoundModel(labelled({"normal": 2, "alarm": 2}))
    audio = media("normal", 20)
    with pytest.raises(FailedPrecondition, match="ScoreSound"):
        await stub.ClassifySound(ClassifySoundRequest(name="pump", audio=audio))
    with pytest.raises(FailedPrecondition, match="ClassifySound"):
        await stub.ScoreSound(ScoreSoundRequest(name="state", audio=audio))


NESTED = b"[" * 100_000


@pytest.mark.parametrize("damage", ["zeros", "nested", "larger", "no bytes", "no object"])
async def test_a_damaged_artefact_is_said_to_be_and_can_be_deleted(stub, settings, damage):
    await stub.FitSoundModel(normal(range(7)))
    (record, _) = await SoundStore(ObjectStore(settings.object_store_url), settings).get("default", "pump", 0)
    digest = record.reference.removeprefix("sha256:")
    path = next(settings.home.rglob(digest))
    size = path.stat().st_size
    nested = len(NESTED).to_bytes(8, "little") + NESTED
    bytes_ = {"zeros": b"\0" * size, "nested": nested.ljust(size, b"\0"), "larger": b"\0" * (size + 1)}
    if damage in bytes_:
        path.write_bytes(bytes_[damage])
    elif damage == "no bytes":
        path.unlink()
    else:
        next(settings.home.rglob(f"{digest}.json")).unlink()
    with pytest.raises(FailedPrecondition, match="damaged: fit it again") as raised:
        await stub.ScoreSound(ScoreSoundRequest(name="pump", audio=media("normal", 20)))
    assert raised.value.field == "name"
    await stub.DeleteSoundModel(DeleteSoundModelRequest(name="pump"))
    assert not (await stub.ListSoundModels(ListSoundModelsRequest())).models
    with pytest.raises(NotFound):
        await stub.DeleteSoundModel(DeleteSoundModelRequest(name="pump"))


RECORDS = [
    b"", b"no json", NESTED, b"[]", b"{}", b'{"name": "pump", "version": 1, "classes": 5}',
    b'{"name":"pump","version":1,"classes":[],"threshold":1,"clips":5,"seconds":9,"macro_f1":null,"reference":"up"}',
]  # fmt: skip


@pytest.mark.parametrize("content", RECORDS)
async def test_a_damaged_record_is_passed_over_and_goes_with_the_others(stub, settings, content):
    for _ in range(2):
        await stub.FitSoundModel(normal(range(7)))
    (settings.home / "data/objects/default/records/sound-model/pump.1.json").write_bytes(content)
    audio = media("normal", 20)
    assert [model.version for model in (await stub.ListSoundModels(ListSoundModelsRequest())).models] == [2]
    assert (await stub.ScoreSound(ScoreSoundRequest(name="pump", audio=audio))).version == 2
    with pytest.raises(FailedPrecondition, match="damaged"):
        await stub.ScoreSound(ScoreSoundRequest(name="pump", audio=audio, version=1))
    await stub.DeleteSoundModel(DeleteSoundModelRequest(name="pump"))
    with pytest.raises(NotFound):
        await stub.ScoreSound(ScoreSoundRequest(name="pump", audio=audio))


HUM = NormalSounds(np.zeros(FEATURES, np.float32), np.eye(FEATURES, dtype=np.float32), 1.5)


def record(name):
    return SoundRecord(name, 0, (), 1.0, 5, 20.0, None)


async def test_few_models_are_kept_in_memory(settings, tmp_path):
    store = SoundStore(ObjectStore(str(tmp_path / "other")), settings)
    for name in ("a", "b", "c"):
        await store.add("one", record(name), HUM)
        assert isinstance((await store.get("one", name, 0))[1], NormalSounds)
    assert len(store._cache) == 2
    assert (await store.get("one", "a", 0))[0].version == 1


async def test_a_tenant_has_so_many_models(stub, settings):
    store = SoundStore(ObjectStore(settings.object_store_url), settings)
    for number in range(settings.max_sound_models):
        await store.add("default", record(f"hum-{number}"), HUM)
    with pytest.raises(FailedPrecondition, match="delete one") as raised:
        await stub.FitSoundModel(normal(range(7)))
    assert raised.value.field == "name"
    assert (await stub.FitSoundModel(normal(range(7), name="hum-0"))).model.version == 2
    await stub.DeleteSoundModel(DeleteSoundModelRequest(name="hum-0"))
    await stub.FitSoundModel(normal(range(7)))


async def test_the_oldest_versions_go_with_their_artefacts(settings, tmp_path):
    objects = tmp_path / "other"
    store = SoundStore(ObjectStore(str(objects)), settings)
    for _ in range(settings.max_sound_versions + 2):
        last = await store.add("one", record("hum"), HUM)
    assert last.version == settings.max_sound_versions + 2
    assert len(list((objects / "one" / "objects").iterdir())) == settings.max_sound_versions
    for version in (1, 2):
        with pytest.raises(NotFound):
            await store.get("one", "hum", version)
    assert (await store.get("one", "hum", 3))[0].version == 3


async def test_an_artefact_without_a_record_is_not_kept(settings, tmp_path, monkeypatch):
    objects = ObjectStore(str(tmp_path / "other"))

    async def fail(*_):
        raise Unavailable("the object store does not answer")

    monkeypatch.setattr(objects, "create_record", fail)
    with pytest.raises(Unavailable):
        await SoundStore(objects, settings).add("one", record("hum"), HUM)
    assert not list((tmp_path / "other" / "one" / "objects").iterdir())


def short(seconds):
    return SoundClip(audio=media("normal", 0, seconds=seconds))


@pytest.mark.parametrize(
    ("request_", "error", "field", "words"),
    [
        (normal(range(7), name=""), InvalidArgument, "name", "required"),
        (normal(range(7), name="../up"), InvalidArgument, "name", "64 letters"),
        (normal(range(7), name="n" * 65), InvalidArgument, "name", "64 letters"),
        (normal([]), InvalidArgument, "clips", "required"),
        (normal(range(4)), InvalidArgument, "clips", "5 or more"),
        (FitSoundModelRequest(name="p", clips=[short(1.0)] * 6), InvalidArgument, "clips", "20 or more"),
        (FitSoundModelRequest(name="p", clips=[short(0.1)] * 6), InvalidArgument, "clips[0].audio", "a third"),
        (normal(range(14)), TooLarge, "clips", "40 seconds"),
        (FitSoundModelRequest(name="p", clips=[short(0.5)] * 21), TooLarge, "clips", "at most 20"),
        (normal(range(7), false_alarm_rate=0.3), InvalidArgument, "false_alarm_rate", "0.2"),
        (normal(range(7), false_alarm_rate=float("nan")), InvalidArgument, "false_alarm_rate", "0.2"),
        (labelled({"normal": 6}), InvalidArgument, "clips", "second class"),
        (labelled({"normal": 3, "alarm": 1}), InvalidArgument, "clips", "2 or more"),
        (labelled({"normal": 2, "alarm": 2, "whine": 2, "knocking": 2}), TooLarge, "clips", "at most 3"),
        (
            FitSoundModelRequest(name="p", clips=[SoundClip(audio=media("normal", 0), label="a"), short(2.0)]),
            InvalidArgument, "clips[1].label", "each clip",
        ),
        (
            FitSoundModelRequest(name="p", clips=[SoundClip(audio=Media(inline=b"no sound"))] * 6),
            UnsupportedMedia, "clips[0].audio", "decoded",
        ),
        (FitSoundModelRequest(name="p", clips=[SoundClip()] * 6), InvalidArgument, "clips[0].audio", "required"),
    ],
)  # fmt: skip
async def test_what_cannot_be_learned_is_named(stub, request_, error, field, words):
    with pytest.raises(error, match=words) as raised:
        await stub.FitSoundModel(request_)
    assert raised.value.field.startswith(field)


SILENT = Media(inline=wav(np.zeros(64_000)))


@pytest.mark.parametrize("labels", [[""], ["on", "off"]])
async def test_of_silence_nothing_is_learned(stub, labels):
    clips = [SoundClip(audio=SILENT, label=label) for label in labels for _ in range(6 // len(labels))]
    with pytest.raises(InvalidArgument, match="silent") as raised:
        await stub.FitSoundModel(FitSoundModelRequest(name="hush", clips=clips))
    assert raised.value.field == "clips"


async def test_silence_is_judged_without_a_fault(stub):
    await stub.FitSoundModel(normal(range(7)))
    assert (await stub.ScoreSound(ScoreSoundRequest(name="pump", audio=SILENT))).anomalous


async def test_a_machine_that_is_off_is_a_class(stub):
    clips = [SoundClip(audio=SILENT, label="off")] * 3
    clips += [SoundClip(audio=media("normal", clip), label="on") for clip in range(3)]
    await stub.FitSoundModel(FitSoundModelRequest(name="state", clips=clips))
    for audio, label in ((SILENT, "off"), (media("normal", 9), "on")):
        told = await stub.ClassifySound(ClassifySoundRequest(name="state", audio=audio))
        assert told.classes[0].label == label
        assert math.isfinite(told.classes[0].probability)


@pytest.mark.parametrize("audio", [Media(), Media(inline=b"no sound"), media("normal", 0, seconds=0.1)])
async def test_what_cannot_be_judged_is_named(stub, audio):
    await stub.FitSoundModel(normal(range(7)))
    with pytest.raises(InvalidArgument) as raised:
        await stub.ScoreSound(ScoreSoundRequest(name="pump", audio=audio))
    assert raised.value.field.startswith("audio")
