"""`/v1/audio/assess` and `/v1/audio/emotion`."""

import pytest

from servekit.errors import UnsupportedMedia

FILE = {"file": ("a.wav", b"sound", "audio/wav")}


async def test_an_assessment(http, orders):
    answer = await http.post("/v1/audio/assess", files=FILE, data={"reference_text": "What now?", "language": "en"})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["scores"] == {"accuracy": 90, "fluency": 80, "completeness": 50, "overall": 70}
    assert [(word["verdict"], word["start"], word["end"]) for word in body["words"]] == [
        ("right", 0.5, 1.0),
        ("missing", None, None),
    ]
    (request,) = orders.requests("Assess")
    assert (request.reference_text, request.language, request.audio.inline) == ("What now?", "en", b"sound")
    assert request.model == "fake-transcriber"


@pytest.mark.parametrize(
    ("data", "field"),
    [({}, "reference_text"), ({"reference_text": ""}, "reference_text"), ({"reference_text": "a", "x": "1"}, "x")],
)
async def test_an_assessment_needs_its_text(http, orders, data, field):
    answer = await http.post("/v1/audio/assess", files=FILE, data=data)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, field)
    assert not orders.seen


async def test_the_emotion_of_a_recording(http, orders):
    answer = await http.post("/v1/audio/emotion", files=FILE)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["basis"] == "words_and_prosody"
    assert body["emotions"] == [{"label": "happy", "probability": 0.75}]
    assert body["segments"][0]["prosody"]["pitch_hertz"] == 120
    assert body["sentiment"] == {"score": 0.5, "labels": body["emotions"], "basis": "vader-en"}


async def test_an_acoustic_model_that_is_not_there_is_not_found(http, orders):
    answer = await http.post("/v1/audio/emotion", files=FILE, data={"model": "nonesuch"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (404, "model")
    assert not orders.seen


@pytest.mark.parametrize(("path", "rpc"), [("/v1/audio/assess", "Assess"), ("/v1/audio/emotion", "AnalyzeEmotion")])
async def test_an_error_about_the_recording_names_the_file(http, orders, path, rpc):
    orders.fail[rpc] = UnsupportedMedia("not a recording", field="audio.inline")
    data = {"reference_text": "a"} if rpc == "Assess" else {}
    answer = await http.post(path, files=FILE, data=data)
    assert (answer.status_code, answer.json()["error"]["param"]) == (415, "file")
