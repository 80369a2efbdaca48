"""The store of anomaly detectors, over real gRPC: versions, tenants, damaged artefacts and limits."""

import asyncio

import numpy as np
import pytest
from polyphony.speech.v1.anomaly_pb2 import (
    DeleteAnomalyDetectorRequest,
    DetectAnomalyRequest,
    ListAnomalyDetectorsRequest,
)

from servekit.context import RequestContext, enter
from servekit.errors import FailedPrecondition, NotFound, Unavailable
from servekit.media.bucket import Bucket
from services.speech.anomaly.detectors import AnomalyScorer
from services.speech.anomaly.features import FEATURES
from services.speech.anomaly.store import DetectorRecord, DetectorStore

from .conftest import media, normal


async def test_a_name_gets_versions_and_loses_them_together(stub):
    await stub.TrainAnomalyDetector(normal(range(8)))
    second = (await stub.TrainAnomalyDetector(normal(range(9), false_alarm_rate=0.1))).anomaly_detector
    assert (second.version, second.clip_count) == (2, 9)
    listed = (await stub.ListAnomalyDetectors(ListAnomalyDetectorsRequest())).anomaly_detectors
    assert [(model.name, model.version) for model in listed] == [("pump", 2)]
    audio = media("normal", 20)
    assert (await stub.DetectAnomaly(DetectAnomalyRequest(name="pump", audio=audio))).version == 2
    first = await stub.DetectAnomaly(DetectAnomalyRequest(name="pump", audio=audio, version=1))
    assert first.version == 1
    assert first.threshold != second.threshold
    with pytest.raises(NotFound) as raised:
        await stub.DetectAnomaly(DetectAnomalyRequest(name="pump", audio=audio, version=3))
    assert raised.value.field == "version"
    await stub.DeleteAnomalyDetector(DeleteAnomalyDetectorRequest(name="pump"))
    for version in (0, 1):
        with pytest.raises(NotFound):
            await stub.DetectAnomaly(DetectAnomalyRequest(name="pump", audio=audio, version=version))
    with pytest.raises(NotFound):
        await stub.DeleteAnomalyDetector(DeleteAnomalyDetectorRequest(name="pump"))
    assert not (await stub.ListAnomalyDetectors(ListAnomalyDetectorsRequest())).anomaly_detectors


async def test_fits_at_once_get_a_version_each(stub):
    answers = await asyncio.gather(*(stub.TrainAnomalyDetector(normal(range(7))) for _ in range(4)))
    assert sorted(answer.anomaly_detector.version for answer in answers) == [1, 2, 3, 4]


async def test_a_tenant_sees_its_own_alone(stub):
    enter(RequestContext(tenant="one"))
    await stub.TrainAnomalyDetector(normal(range(7)))
    enter(RequestContext(tenant="two"))
    request = DetectAnomalyRequest(name="pump", audio=media("normal", 20))
    for call in (stub.DetectAnomaly(request), stub.DeleteAnomalyDetector(DeleteAnomalyDetectorRequest(name="pump"))):
        with pytest.raises(NotFound):
            await call
    assert not (await stub.ListAnomalyDetectors(ListAnomalyDetectorsRequest())).anomaly_detectors
    assert (await stub.TrainAnomalyDetector(normal(range(7)))).anomaly_detector.version == 1
    enter(RequestContext(tenant="one"))
    assert (await stub.DetectAnomaly(request)).version == 1


NESTED = b"[" * 100_000


@pytest.mark.parametrize("damage", ["zeros", "nested", "larger", "no bytes"])
async def test_a_damaged_artefact_is_an_error_and_can_be_deleted(stub, settings, records, damage):
    await stub.TrainAnomalyDetector(normal(range(7)))
    record = await records.get("default", "sound-model", "pump.1")
    path = next(settings.home.rglob(record["reference"]))
    size = path.stat().st_size
    nested = len(NESTED).to_bytes(8, "little") + NESTED
    bytes_ = {"zeros": b"\0" * size, "nested": nested.ljust(size, b"\0"), "larger": b"\0" * (size + 1)}
    if damage in bytes_:
        path.write_bytes(bytes_[damage])
    else:
        path.unlink()
    with pytest.raises(FailedPrecondition, match="damaged") as raised:
        await stub.DetectAnomaly(DetectAnomalyRequest(name="pump", audio=media("normal", 20)))
    assert raised.value.field == "name"
    await stub.DeleteAnomalyDetector(DeleteAnomalyDetectorRequest(name="pump"))
    assert not (await stub.ListAnomalyDetectors(ListAnomalyDetectorsRequest())).anomaly_detectors
    with pytest.raises(NotFound):
        await stub.DeleteAnomalyDetector(DeleteAnomalyDetectorRequest(name="pump"))


RECORDS = [{}, {"name": "pump", "version": 1, "classes": 5}]


@pytest.mark.parametrize("fields", RECORDS)
async def test_a_record_of_another_release_is_left_out_and_deleted_with_the_others(stub, records, fields):
    await records.create("default", "sound-model", "pump.1", fields)
    await stub.TrainAnomalyDetector(normal(range(7)))
    audio = media("normal", 20)
    assert [
        model.version for model in (await stub.ListAnomalyDetectors(ListAnomalyDetectorsRequest())).anomaly_detectors
    ] == [2]
    assert (await stub.DetectAnomaly(DetectAnomalyRequest(name="pump", audio=audio))).version == 2
    with pytest.raises(FailedPrecondition, match="damaged"):
        await stub.DetectAnomaly(DetectAnomalyRequest(name="pump", audio=audio, version=1))
    await stub.DeleteAnomalyDetector(DeleteAnomalyDetectorRequest(name="pump"))
    with pytest.raises(NotFound):
        await stub.DetectAnomaly(DetectAnomalyRequest(name="pump", audio=audio))


HUM = AnomalyScorer(np.zeros(FEATURES, np.float32), np.eye(FEATURES, dtype=np.float32), 1.5)


def record(name):
    return DetectorRecord(name, 0, (), 1.0, 5, 20.0, None)


@pytest.fixture
def bucket(tmp_path):
    return Bucket(str(tmp_path / "other"))


async def test_the_number_of_cached_models_is_bounded(settings, bucket, records):
    store = DetectorStore(bucket, records, settings)
    for name in ("a", "b", "c"):
        await store.add("one", record(name), HUM)
        assert isinstance((await store.get("one", name, 0))[1], AnomalyScorer)
    assert len(store._cache) == 2
    assert (await store.get("one", "a", 0))[0].version == 1


async def test_the_number_of_detectors_of_a_tenant_is_bounded(stub, settings, records):
    store = DetectorStore(Bucket(settings.object_store_url), records, settings)
    for number in range(settings.max_anomaly_detectors):
        await store.add("default", record(f"hum-{number}"), HUM)
    with pytest.raises(FailedPrecondition, match="delete one") as raised:
        await stub.TrainAnomalyDetector(normal(range(7)))
    assert raised.value.field == "name"
    assert (await stub.TrainAnomalyDetector(normal(range(7), name="hum-0"))).anomaly_detector.version == 2
    await stub.DeleteAnomalyDetector(DeleteAnomalyDetectorRequest(name="hum-0"))
    await stub.TrainAnomalyDetector(normal(range(7)))


async def test_the_oldest_versions_are_deleted_with_their_artefacts(settings, bucket, records):
    store = DetectorStore(bucket, records, settings)
    for _ in range(settings.max_anomaly_detector_versions + 2):
        last = await store.add("one", record("hum"), HUM)
    assert last.version == settings.max_anomaly_detector_versions + 2
    assert len(await bucket.entries("one/blobs")) == settings.max_anomaly_detector_versions
    for version in (1, 2):
        with pytest.raises(NotFound):
            await store.get("one", "hum", version)
    assert (await store.get("one", "hum", 3))[0].version == 3


async def test_an_artefact_whose_record_cannot_be_created_is_deleted(settings, bucket, records, monkeypatch):
    async def fail(*_):
        raise Unavailable("the database does not answer")

    monkeypatch.setattr(records, "create", fail)
    with pytest.raises(Unavailable):
        await DetectorStore(bucket, records, settings).add("one", record("hum"), HUM)
    assert not await bucket.entries("one/blobs")
