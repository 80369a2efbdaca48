"""Sound that a service streams, over calls that end as they are told to."""

import pytest
from polyphony.speech.v1.speech_pb2 import SynthesizeResponse

from gateway.http.audio_stream import chunks, complete
from servekit.rpc.errors import InvalidArgument, Unavailable


class Call:
    """A call that streams two chunks and then ends, fails or, given nothing, breaks off."""

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


async def test_its_chunks_are_the_sound():
    assert [chunk async for chunk in chunks(complete(Call(FINISHED).stream(), "it"))] == [b"ha", b"lf"]


@pytest.mark.parametrize(
    ("ending", "error", "field", "message"),
    [
        (None, Unavailable, "", "the speech broke off"),
        (InvalidArgument("no", field="text"), InvalidArgument, "input", "no"),
    ],
)
async def test_one_that_does_not_finish_says_so(ending, error, field, message):
    with pytest.raises(error, match=message) as caught:
        _ = [chunk async for chunk in chunks(complete(Call(ending).stream(), "the speech", text="input"))]
    assert caught.value.field == field


async def test_a_call_ends_when_its_sound_is_no_longer_wanted():
    call = Call(FINISHED)
    sound = chunks(complete(call.stream(), "it"))
    assert await anext(sound) == b"ha"
    await sound.aclose()
    assert not call.open
