"""The forms of transcriptions and translations: how they are read, and what they may not say."""

import pytest

from gateway.http.bodies import LANGUAGE_RULE

SOUND = ("a.wav", b"sound", "audio/wav")


@pytest.mark.parametrize("order", [1, -1])
async def test_fields_are_read_on_either_side_of_the_file(http, orders, order):
    fields = [("language", (None, b"fr")), ("file", SOUND), ("temperature", (None, b"0.5"))]
    assert (await http.post("/v1/audio/transcriptions", files=fields[::order])).status_code == 200
    (request,) = orders.requests("Transcribe")
    assert (request.language, request.temperature) == ("fr", 0.5)


@pytest.mark.parametrize(
    ("path", "data", "param"),
    [
        ("/transcriptions", {"include[]": "logprobs"}, "include"),
        ("/transcriptions", {"timestamp_granularities[]": "word"}, "timestamp_granularities"),
        (
            "/transcriptions",
            {"response_format": "verbose_json", "timestamp_granularities[]": "line"},
            "timestamp_granularities",
        ),
        ("/transcriptions", {"languages[]": ["de", "fr"]}, "languages"),
        ("/transcriptions", {"language": "English"}, "language"),
        ("/transcriptions", {"stream": "true", "response_format": "srt"}, "stream"),
        ("/transcriptions", {"chunking_strategy": "sometimes"}, "chunking_strategy"),
        ("/transcriptions", {"chunking_strategy": '{"type": "server_vad", "threshold": 2}'}, "chunking_strategy"),
        (
            "/transcriptions",
            {"chunking_strategy[type]": "server_vad", "chunking_strategy[threshold]": "2"},
            "chunking_strategy",
        ),
        (
            "/transcriptions",
            {"chunking_strategy": "auto", "chunking_strategy[type]": "server_vad"},
            "chunking_strategy",
        ),
        ("/transcriptions", {"known_speaker_names[]": "Ann"}, "known_speaker_references"),
        (
            "/transcriptions",
            {
                "response_format": "diarized_json",
                "known_speaker_names[]": "Ann",
                "known_speaker_references[]": "https://example.com/ann.wav",
            },
            "known_speaker_references",
        ),
        ("/translations", {"response_format": "diarized_json"}, "response_format"),
        ("/translations", {"stream": "true"}, "stream"),
    ],
)
async def test_unsupported_fields_are_refused_by_name(http, orders, path, data, param):
    response = await http.post(f"/v1/audio{path}", files={"file": SOUND}, data=data)
    error = response.json()["error"]
    assert response.status_code == 400, response.text
    assert error["param"].partition("[")[0].partition(".")[0] == param
    assert not orders.seen


async def test_an_invalid_language_gets_the_rule(http):
    response = await http.post("/v1/audio/transcriptions", files={"file": SOUND}, data={"language": "English"})
    error = response.json()["error"]
    assert (error["param"], error["message"]) == ("language", LANGUAGE_RULE)
