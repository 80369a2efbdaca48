import pytest

from servekit.errors import InvalidArgument

SOUND = ("a.wav", b"sound", "audio/wav")


@pytest.fixture
async def align(http):
    async def align(text="Hello,\nbig world!", **fields):
        return await http.post("/v1/audio/align", files={"file": SOUND}, data={"text": text, **fields})

    return align


async def test_words_with_their_times(align, orders):
    answer = (await align(language="en")).json()
    assert answer["words"] == [
        {"word": "Hello,", "start": 0.0, "end": 0.5, "confidence": 0.75, "line": 0},
        {"word": "big", "start": 0.5, "end": 1.0, "confidence": 0.75, "line": 1},
        {"word": "world!", "start": 1.0, "end": 1.5, "confidence": 0.75, "line": 1},
    ]
    assert (answer["duration"], answer["language"], answer["model"]) == (9.0, "en", "fake-aligner")
    (request,) = orders.requests("Align")
    assert (request.audio.inline, request.language, request.model) == (b"sound", "en", "")


async def test_lines_stay_cues(align):
    assert (await align(response_format="lrc")).text == "[00:00.00]Hello,\n[00:00.50]big world!\n[00:01.50]\n"
    srt = (await align(response_format="srt")).text
    assert srt.count(" --> ") == 2
    assert "\nbig world!\n" in srt
    long = " ".join(["word"] * 60)
    vtt = await align(text=f"short\n{long}", response_format="vtt")
    assert vtt.headers["content-type"].startswith("text/vtt")
    assert vtt.text.count(" --> ") > 4
    assert "\nshort\n\n" in vtt.text


async def test_a_long_text_is_taken(align, orders):
    assert (await align(text="word " * 20_000)).status_code == 200
    assert len(orders.requests("Align")[0].text) == 100_000
    response = await align(text="word " * 300_000)
    assert (response.status_code, response.json()["error"]["param"]) == (413, "text")


@pytest.mark.parametrize(("model", "status"), [("whisper-1", 200), ("fake-reader", 400), ("none", 404)])
async def test_an_aligner_or_a_transcriber_may_be_named(align, model, status):
    assert (await align(model=model)).status_code == status


async def test_errors_name_the_form(align, orders):
    for field in ("audio.inline", "audio"):  # what cannot be read, and where nobody speaks
        orders.fail["Align"] = InvalidArgument("no word has a time", field=field)
        response = await align()
        assert (response.status_code, response.json()["error"]["param"]) == (400, "file")
    assert (await align(text="")).json()["error"]["param"] == "text"
    assert (await align(response_format="ass")).json()["error"]["param"] == "response_format"
