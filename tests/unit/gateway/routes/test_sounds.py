"""`/v1/audio/enhance` and `/v1/audio/sound_models`."""

import pytest
from polyphony.speech.v1.enhancement_pb2 import EnhancementStarted, EnhanceResponse

from servekit.errors import InvalidArgument, NotFound

FILE = {"file": ("a.wav", b"sound", "audio/wav")}


async def test_the_body_is_the_enhanced_recording(http, orders):
    data = {"loudness_lufs": "-16", "trim_silence": "true", "response_format": "mp3"}
    response = await http.post("/v1/audio/enhance", files=FILE, data=data)
    assert (response.status_code, response.content) == (200, b"clean")
    assert response.headers["content-type"] == "audio/mpeg"
    (request,) = orders.requests("Enhance")
    assert (request.audio.inline, request.mime_type, request.model) == (b"sound", "audio/mpeg", "")
    assert (request.loudness_lufs, request.trim_silence, request.keep_noise) == (-16, True, False)


async def test_the_measurements_are_json_and_the_audio_a_file(http, orders):
    response = await http.post("/v1/audio/enhance", files=FILE, data={"answer": "json", "model": "fake-enhancer"})
    answer = response.json()
    assert response.status_code == 200, response.text
    assert (answer["model"], answer["sample_rate"], answer["bytes"]) == ("filter", 48_000, 5)
    assert (answer["duration_before"], answer["duration_after"], answer["snr_before"]) == (3.0, 2.0, 5.25)
    assert answer["kept"] == [{"start": 0.5, "end": 2.5}]
    assert "snr_after" not in answer
    sound = await http.get(f"/v1/files/{answer['file_id']}/content")
    assert (sound.content, sound.headers["content-type"]) == (b"clean", "audio/wav")
    assert (await http.get(f"/v1/files/{answer['file_id']}")).json()["expires_at"] == answer["expires_at"]
    (request,) = orders.requests("Enhance")
    assert request.model == "fake-enhancer"
    assert not request.HasField("loudness_lufs")


@pytest.mark.parametrize("answer", ["audio", "json"])
async def test_an_incomplete_enhancement_is_an_error_and_is_cancelled(http, state, monkeypatch, answer):
    closed = []

    async def enhance(request):
        try:
            yield EnhanceResponse(started=EnhancementStarted(model="filter"))
            yield EnhanceResponse(chunk=b"half")
        finally:
            closed.append(True)

    monkeypatch.setattr(state.clients.enhancement, "Enhance", enhance)
    if answer == "json":
        response = await http.post("/v1/audio/enhance", files=FILE, data={"answer": answer})
        assert response.status_code == 503
    else:
        with pytest.raises(Exception, match="ended before its final event"):
            await http.post("/v1/audio/enhance", files=FILE, data={"answer": answer})
    assert closed


@pytest.mark.parametrize(
    ("data", "status", "param"),
    [
        ({"loudness_lufs": "0"}, 400, "loudness_lufs"),
        ({"response_format": "wma"}, 400, "response_format"),
        ({"answer": "sse"}, 400, "answer"),
        ({"model": "none"}, 404, "model"),
        ({"model": "fake-synthesizer"}, 400, "model"),
        ({"gain": "3"}, 400, "gain"),
    ],
)
async def test_invalid_fields_are_named(http, data, status, param):
    response = await http.post("/v1/audio/enhance", files=FILE, data=data)
    assert (response.status_code, response.json()["error"]["param"]) == (status, param)


@pytest.mark.parametrize("answer", ["audio", "json"])
async def test_an_error_about_the_audio_names_the_file(http, orders, answer):
    orders.fail["Enhance"] = InvalidArgument("no sound", field="audio.inline")
    response = await http.post("/v1/audio/enhance", files=FILE, data={"answer": answer})
    assert (response.status_code, response.json()["error"]["param"]) == (400, "file")


async def test_a_model_is_trained_on_files_and_labels(http, orders, state):
    files = [("files", (f"{n}.wav", bytes([n]) * 9, "audio/wav")) for n in range(3)]
    data = {"name": "pump", "labels": ["normal", "normal", "alarm"], "false_alarm_rate": "0.05"}
    response = await http.post("/v1/audio/sound_models", files=files, data=data)
    assert response.status_code == 200, response.text
    assert (response.json()["classes"], response.json()["clips"]) == (["alarm", "normal"], 3)
    assert "threshold" not in response.json()
    (request,) = orders.requests("TrainAnomalyDetector")
    assert [clip.label for clip in request.clips] == data["labels"]
    assert request.false_alarm_rate == pytest.approx(0.05)
    kept = [await state.store.read("default", clip.audio.reference, 100) for clip in request.clips]
    assert kept == [bytes([n]) * 9 for n in range(3)]


async def test_without_labels_all_clips_are_normal_and_a_form_may_have_many_files(http, orders):
    files = [("files", (f"{n}.wav", b"x%d" % n, "audio/wav")) for n in range(120)]
    response = await http.post("/v1/audio/sound_models", files=files, data={"name": "pump"})
    assert response.status_code == 200, response.text
    assert (response.json()["threshold"], response.json()["clips"]) == (1.5, 120)
    assert {clip.label for clip in orders.requests("TrainAnomalyDetector")[0].clips} == {""}


@pytest.mark.parametrize(
    ("data", "param"),
    [
        ({"name": "pump", "labels": ["normal", "alarm"]}, "labels"),
        ({}, "name"),
        ({"name": "pump", "false_alarm_rate": "0.5"}, "false_alarm_rate"),
    ],
)
async def test_invalid_training_data_is_named(http, data, param):
    files = [("files", (f"{n}.wav", b"x", "audio/wav")) for n in range(3)]
    response = await http.post("/v1/audio/sound_models", files=files, data=data)
    assert (response.status_code, response.json()["error"]["param"]) == (400, param)


@pytest.mark.parametrize(
    ("field", "param"),
    [("clips[1].audio.inline", "files[1]"), ("clips[2].label", "labels[2]"), ("clips", "files"), ("name", "name")],
)
async def test_an_error_about_a_clip_names_its_file(http, orders, field, param):
    orders.fail["TrainAnomalyDetector"] = InvalidArgument("no", field=field)
    response = await http.post("/v1/audio/sound_models", files=FILE, data={"name": "pump"})
    assert (response.status_code, response.json()["error"]["param"]) == (400, param)


async def test_models_are_listed_and_deleted(http, orders):
    (row,) = (await http.get("/v1/audio/sound_models")).json()["data"]
    assert (row["name"], row["version"], row["threshold"]) == ("pump", 2, 1.5)
    deleted = await http.delete("/v1/audio/sound_models/pump")
    assert deleted.json() == {"name": "pump", "object": "sound_model", "deleted": True}
    assert orders.requests("DeleteAnomalyDetector")[0].name == "pump"
    orders.fail["DeleteAnomalyDetector"] = NotFound("there is no sound model 'pump'", field="name")
    assert (await http.delete("/v1/audio/sound_models/pump")).status_code == 404


async def test_a_recording_is_scored_and_classified(http, orders):
    scored = (await http.post("/v1/audio/sound_models/pump/score", files=FILE, data={"version": "3"})).json()
    assert (scored["score"], scored["threshold"], scored["anomalous"], scored["version"]) == (2.0, 1.5, True, 3)
    assert scored["stretches"] == [{"start": 0.0, "end": 1.0, "score": 2.0}]
    (request,) = orders.requests("DetectAnomaly")
    assert (request.name, request.version, request.audio.inline) == ("pump", 3, b"sound")
    told = (await http.post("/v1/audio/sound_models/pump/classify", files=FILE)).json()
    assert told["classes"] == [{"label": "alarm", "probability": 1.0}]
    assert told["stretches"] == [{"start": 0.0, "end": 1.0, "label": "alarm", "probability": 1.0}]


async def test_too_many_fields_are_named(http):
    response = await http.post("/v1/audio/transcriptions", files=FILE, data={"hotwords": ["word"] * 70})
    assert (response.status_code, response.json()["error"]["param"]) == (413, "hotwords")
