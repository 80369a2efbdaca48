"""What is spoken is heard again, figures and all; and what no voice of the profile can do is said."""

import re

import pytest
from openai import BadRequestError, NotFoundError, OpenAI

READ_BACK = {
    "The train leaves at 9:30 on March 5.": ("nine.?thirty|9[:.]?30", "march (5|fifth)"),
    "Dr. Smith paid $12.50 for 3 kg of rice.": ("doctor|dr", r"12.*50|twelve", "kilo|kg"),
    "Chapter IV has 21 pages.": ("chapter (4|four|iv)", "21|twenty.?one"),
}


def test_most_figures_are_transcribed_as_they_were_synthesized(client: OpenAI):
    found = []
    for text, patterns in READ_BACK.items():
        spoken = client.audio.speech.create(model="tts-1", voice="heart", input=text, response_format="wav").content
        heard = client.audio.transcriptions.create(model="whisper-1", file=("a.wav", spoken), language="en").text
        found += [re.search(pattern, heard.lower()) for pattern in patterns]
    assert sum(match is not None for match in found) >= 0.7 * len(found)


def test_the_duration_follows_the_speed(client: OpenAI):
    def seconds(speed: float) -> float:
        spoken = client.audio.speech.create(
            model="tts-1", voice="default", input="Nobody had seen the river rise so far.", speed=speed,
            response_format="pcm",
        ).content  # fmt: skip
        return len(spoken) / 48_000

    own = seconds(1.0)
    for speed in (0.25, 0.5, 2.0, 4.0):
        assert seconds(speed) == pytest.approx(own / speed, rel=0.25)


def test_audio_streams_before_synthesis_has_ended(client: OpenAI):
    with client.audio.speech.with_streaming_response.create(
        model="tts-1", voice="default", input="One is short. " + "And many more of them come after it. " * 20
    ) as response:
        sizes = [len(piece) for piece in response.iter_bytes(1024)]
        assert response.headers.get("content-length") is None
    assert len(sizes) > 10


@pytest.mark.parametrize(
    ("text", "param", "says"),
    [
        ("Hello 你好", "input", "'你'.*kokoro-82m"),
        ("?! 🎉", "input", "must contain words"),
        ("a" * 1_000_000, "input", "at most 4096 characters, got 1000000"),
    ],
)
def test_text_that_cannot_be_synthesized_is_rejected(client: OpenAI, text: str, param: str, says: str):
    with pytest.raises(Exception, match=says) as raised:
        client.audio.speech.create(model="tts-1", voice="default", input=text)
    assert raised.value.body["param"] == param


def test_an_unknown_voice_and_an_unsupported_language_are_rejected(client: OpenAI):
    with pytest.raises(NotFoundError, match="heart"):
        client.audio.speech.create(model="tts-1", voice="nobody", input="hi")
    with pytest.raises(BadRequestError, match="en"):
        client.audio.speech.create(model="tts-1", voice="heart", input="hi", extra_body={"language": "fr"})
