"""`/v1/audio/diarize`."""

import base64

import pytest

from servekit.errors import InvalidArgument, TooLarge, UnsupportedMedia

URL = "/v1/audio/diarize"
FILE = {"file": ("a.wav", b"sound", "audio/wav")}
VOICE = "data:audio/wav;base64," + base64.b64encode(b"voice").decode()


async def test_a_recording_is_diarized(http, orders):
    answer = await http.post(URL, files=FILE, data={"speakers": "2", "max_speakers": "3"})
    assert answer.status_code == 200, answer.text
    assert answer.json() == {
        "duration": 3,
        "turns": [{"start": 0.5, "end": 2, "speaker": "A", "confidence": 0.75}],
        "speakers": [{"name": "A", "seconds": 1.5}],
        "model": "fake-diarizer",
    }
    (request,) = orders.requests("Diarize")
    assert (request.speakers, request.max_speakers, request.audio.inline) == (2, 3, b"sound")


async def test_a_model_that_knows_voices_does_it_as_well(http, orders):
    answer = await http.post(URL, files=FILE, data={"model": "fake-speaker-encoder"})
    assert answer.json()["model"] == "fake-speaker-encoder"


async def test_known_speakers_are_data_urls(http, orders):
    known = {"known_speaker_names[]": ["Jane", "John"], "known_speaker_references[]": [VOICE, VOICE]}
    assert (await http.post(URL, files=FILE, data=known)).status_code == 200
    (request,) = orders.requests("Diarize")
    assert [(speaker.name, speaker.audio.inline) for speaker in request.known_speakers] == [
        ("Jane", b"voice"),
        ("John", b"voice"),
    ]


@pytest.mark.parametrize(
    ("data", "status", "field"),
    [
        ({"speakers": "-1"}, 400, "speakers"),
        ({"speakers": "many"}, 400, "speakers"),
        ({"model": "nonesuch"}, 404, "model"),
        ({"model": "fake-transcriber"}, 400, "model"),
        ({"known_speaker_names[]": ["Jane"]}, 400, "known_speaker_references"),
        (
            {"known_speaker_names": "Jane", "known_speaker_references": "https://example.com/voice.wav"},
            400,
            "known_speaker_references[0]",
        ),
        ({"voices": "2"}, 400, "voices"),
    ],
)
async def test_bad_forms_are_refused_by_their_field(http, orders, data, status, field):
    answer = await http.post(URL, files=FILE, data=data)
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, field)
    assert not orders.seen


@pytest.mark.parametrize(
    ("error", "status", "field"),
    [
        (UnsupportedMedia("not a recording", field="audio.inline"), 415, "file"),
        (InvalidArgument("too short", field="known_speakers[0].audio"), 400, "known_speaker_references[0]"),
        (TooLarge("too many", field="known_speakers"), 413, "known_speaker_names"),
    ],
)
async def test_an_error_of_the_service_names_the_field_of_the_form(http, orders, error, status, field):
    orders.fail["Diarize"] = error
    known = {"known_speaker_names": "Jane", "known_speaker_references": VOICE}
    answer = await http.post(URL, files=FILE, data=known)
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, field)
