"""Streaming calls that finish, fail, or end before their final event."""

import pytest
from polyphony.speech.v1.synthesis_pb2 import SynthesizeResponse

from gateway.streams import audio_chunks, completed
from servekit.errors import InvalidArgument, Unavailable


class Call:
    """A call that streams two chunks, then ends with `ending`: an event, an error, or nothing."""

    def __init__(self, ending=None):
        self.ending, self.open = ending, True

    async def stream(self):
        try:
            yield SynthesizeResponse(chunk=b"ha")
            yield SynthesizeResponse(chunk=b"lf")
            if isinstance(self.ending, Exception):
                raise self.ending
            if self.ending:
                yield self.ending
        finally:
            self.open = False


FINISHED = SynthesizeResponse()
FINISHED.finished.SetInParent()


async def test_audio_chunks_yields_the_bytes_of_a_completed_call():
    assert [chunk async for chunk in audio_chunks(completed(Call(FINISHED).stream(), "speech"))] == [b"ha", b"lf"]


@pytest.mark.parametrize(
    ("ending", "error", "field", "message"),
    [
        (None, Unavailable, "", "the speech stream ended before its final event"),
        (InvalidArgument("no", field="text"), InvalidArgument, "input", "no"),
    ],
)
async def test_completed_raises_when_the_stream_does_not_finish(ending, error, field, message):
    with pytest.raises(error, match=message) as caught:
        _ = [chunk async for chunk in audio_chunks(completed(Call(ending).stream(), "speech", text="input"))]
    assert caught.value.field == field


async def test_closing_the_generator_cancels_the_call():
    call = Call(FINISHED)
    chunks = audio_chunks(completed(call.stream(), "speech"))
    assert await anext(chunks) == b"ha"
    await chunks.aclose()
    assert not call.open
