"""SoundFeatures models over real gRPC, on made machines."""

import math

import numpy as np
import pytest
from polyphony.speech.v1.anomaly_pb2 import (
    ClassifySoundRequest,
    DetectAnomalyRequest,
    TrainAnomalyDetectorRequest,
    TrainingClip,
)
from polyphony.type.v1.media_pb2 import Media
from pydantic import SecretStr

from evaluation.sounds import machine, wav
from servekit.errors import FailedPrecondition, InvalidArgument, TooLarge, UnsupportedMedia
from services.speech.service import build
from tests.stubs import SpeechStub

from .conftest import media, normal


def labelled(counts, name="state"):
    clips = [
        TrainingClip(audio=media(condition, clip), label=condition)
        for condition, count in counts.items()
        for clip in range(count)
    ]
    return TrainAnomalyDetectorRequest(name=name, clips=clips)


async def test_what_a_machine_sounds_like_and_when_it_does_not(stub):
    model = (await stub.TrainAnomalyDetector(normal(range(8)))).anomaly_detector
    assert (model.name, model.version, model.clip_count, list(model.classes)) == ("pump", 1, 8, [])
    assert model.duration_seconds == pytest.approx(24.0)
    assert model.threshold > 0
    assert not model.HasField("macro_f1")
    assert model.create_time.seconds > 0
    well = await stub.DetectAnomaly(DetectAnomalyRequest(name="pump", audio=media("normal", 20)))
    assert (well.anomalous, well.version) == (False, 1)
    assert well.threshold == model.threshold
    for fault in ("knocking", "alarm", "whine"):
        ill = await stub.DetectAnomaly(DetectAnomalyRequest(name="pump", audio=media(fault, 0)))
        assert ill.anomalous
        assert ill.score >= ill.threshold > well.score
    spans = [(segment.time.start_seconds, segment.time.end_seconds) for segment in ill.segments]
    assert spans[0][0] == 0.0
    assert spans[-1][1] == pytest.approx(3.0)
    assert all(math.isfinite(segment.score) for segment in ill.segments)


async def test_the_segment_with_the_fault_has_the_highest_score(stub):
    await stub.TrainAnomalyDetector(normal(range(8)))
    well, ill = machine("motor", 0, "normal", 30, seconds=5), machine("motor", 0, "alarm", 1, seconds=2)
    audio = Media(inline=wav(np.concatenate([well[:48_000], ill, well[48_000:]])))
    result = await stub.DetectAnomaly(DetectAnomalyRequest(name="pump", audio=audio))
    scores = {segment.time.start_seconds: segment.score for segment in result.segments}
    assert 2.9 < max(scores, key=scores.__getitem__) < 5
    assert result.anomalous


async def test_classes_of_labelled_clips(stub):
    model = (await stub.TrainAnomalyDetector(labelled({"normal": 4, "knocking": 4, "alarm": 4}))).anomaly_detector
    assert list(model.classes) == ["alarm", "knocking", "normal"]
    assert model.macro_f1 > 0.6
    right = 0
    for condition in model.classes:
        for clip in (4, 5, 6):
            result = await stub.ClassifySound(ClassifySoundRequest(name="state", audio=media(condition, clip)))
            right += result.classes[0].label == condition
    assert right >= 6
    assert sum(row.probability for row in result.classes) == pytest.approx(1.0, abs=1e-5)
    assert [row.probability for row in result.classes] == sorted(
        (row.probability for row in result.classes), reverse=True
    )
    assert result.segments[0].sound_class.label
    assert result.version == 1


async def test_each_kind_of_model_answers_its_own_question(stub):
    await stub.TrainAnomalyDetector(normal(range(7)))
    await stub.TrainAnomalyDetector(labelled({"normal": 2, "alarm": 2}))
    audio = media("normal", 20)
    with pytest.raises(FailedPrecondition, match="DetectAnomaly"):
        await stub.ClassifySound(ClassifySoundRequest(name="pump", audio=audio))
    with pytest.raises(FailedPrecondition, match="ClassifySound"):
        await stub.DetectAnomaly(DetectAnomalyRequest(name="state", audio=audio))


def short(seconds):
    return TrainingClip(audio=media("normal", 0, seconds=seconds))


@pytest.mark.parametrize(
    ("request_", "error", "field", "words"),
    [
        (normal(range(7), name=""), InvalidArgument, "name", "required"),
        (normal(range(7), name="../up"), InvalidArgument, "name", "64 letters"),
        (normal(range(7), name="n" * 65), InvalidArgument, "name", "64 letters"),
        (normal([]), InvalidArgument, "clips", "required"),
        (normal(range(4)), InvalidArgument, "clips", "at least 5"),
        (TrainAnomalyDetectorRequest(name="p", clips=[short(1.0)] * 6), InvalidArgument, "clips", "at least 20"),
        (TrainAnomalyDetectorRequest(name="p", clips=[short(0.1)] * 6), InvalidArgument, "clips[0].audio", "0.33 s"),
        (normal(range(14)), TooLarge, "clips", "longer than 40"),
        (TrainAnomalyDetectorRequest(name="p", clips=[short(0.5)] * 21), TooLarge, "clips", "at most 20"),
        (normal(range(7), false_alarm_rate=0.3), InvalidArgument, "false_alarm_rate", "0.2"),
        (normal(range(7), false_alarm_rate=float("nan")), InvalidArgument, "false_alarm_rate", "0.2"),
        (labelled({"normal": 6}), InvalidArgument, "clips", "two classes"),
        (labelled({"normal": 3, "alarm": 1}), InvalidArgument, "clips", "2 clips or more"),
        (labelled({"normal": 2, "alarm": 2, "whine": 2, "knocking": 2}), TooLarge, "clips", "at most 3"),
        (
            TrainAnomalyDetectorRequest(
                name="p", clips=[TrainingClip(audio=media("normal", 0), label="a"), short(2.0)]
            ),
            InvalidArgument, "clips[1].label", "each clip",
        ),
        (
            TrainAnomalyDetectorRequest(name="p", clips=[TrainingClip(audio=Media(inline=b"no sound"))] * 6),
            UnsupportedMedia, "clips[0].audio", "decoded",
        ),
        (
            TrainAnomalyDetectorRequest(name="p", clips=[TrainingClip()] * 6),
            InvalidArgument, "clips[0].audio", "required",
        ),
    ],
)  # fmt: skip
async def test_what_cannot_be_learned_is_named(stub, request_, error, field, words):
    with pytest.raises(error, match=words) as raised:
        await stub.TrainAnomalyDetector(request_)
    assert raised.value.field.startswith(field)


SILENT = Media(inline=wav(np.zeros(64_000)))


@pytest.mark.parametrize("labels", [[""], ["on", "off"]])
async def test_of_silence_nothing_is_learned(stub, labels):
    clips = [TrainingClip(audio=SILENT, label=label) for label in labels for _ in range(6 // len(labels))]
    with pytest.raises(InvalidArgument, match="silent") as raised:
        await stub.TrainAnomalyDetector(TrainAnomalyDetectorRequest(name="hush", clips=clips))
    assert raised.value.field == "clips"


async def test_silence_is_judged_without_a_fault(stub):
    await stub.TrainAnomalyDetector(normal(range(7)))
    assert (await stub.DetectAnomaly(DetectAnomalyRequest(name="pump", audio=SILENT))).anomalous


async def test_a_machine_that_is_off_is_a_class(stub):
    clips = [TrainingClip(audio=SILENT, label="off")] * 3
    clips += [TrainingClip(audio=media("normal", clip), label="on") for clip in range(3)]
    await stub.TrainAnomalyDetector(TrainAnomalyDetectorRequest(name="state", clips=clips))
    for audio, label in ((SILENT, "off"), (media("normal", 9), "on")):
        result = await stub.ClassifySound(ClassifySoundRequest(name="state", audio=audio))
        assert result.classes[0].label == label
        assert math.isfinite(result.classes[0].probability)


@pytest.mark.parametrize("audio", [Media(), Media(inline=b"no sound"), media("normal", 0, seconds=0.1)])
async def test_what_cannot_be_judged_is_named(stub, audio):
    await stub.TrainAnomalyDetector(normal(range(7)))
    with pytest.raises(InvalidArgument) as raised:
        await stub.DetectAnomaly(DetectAnomalyRequest(name="pump", audio=audio))
    assert raised.value.field.startswith("audio")


async def test_training_and_detection_count_as_offered_load(serve, dial, settings):
    server = await serve(settings.model_copy(update={"database_url": SecretStr("memory:")}), build)
    stub = SpeechStub(dial(server, "polyphony.speech.v1.AnomalyService"))

    def offered():
        labels = {"model": "logmel-anomaly"}
        return server._telemetry.registry.get_sample_value("polyphony_offered_load_engine_seconds_total", labels) or 0.0

    await stub.TrainAnomalyDetector(normal(range(7)))  # the service time is unknown before the first run
    request = DetectAnomalyRequest(name="pump", audio=media("normal", 9))
    await stub.DetectAnomaly(request)
    detected = offered()
    assert detected > 0
    await stub.TrainAnomalyDetector(normal(range(7)))
    assert offered() > detected
