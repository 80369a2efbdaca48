"""A spoken answer: its sentences are synthesized while the rest of the text is still being generated."""

import asyncio
import re
from collections.abc import AsyncGenerator

import numpy as np
from polyphony.speech.v1.synthesis_pb2 import SynthesizeRequest

from gateway.clients import Clients
from gateway.field_names import rename_fields
from gateway.formats.voices import find_voice
from gateway.streams import completed
from servekit.media.audio import pcm_samples
from servekit.media.audio_encoder import AudioEncoder

MIN_CHARACTERS = 20  # of one synthesis, except the last: "1." alone sounds chopped
PAUSE_SECONDS = 0.35  # of silence between sentences that are synthesized apart
# A sentence end: closing punctuation before white space, a full-width mark, or an empty line.
# The lookbehind and the possessive quantifiers keep the search linear where a model repeats one mark.
_SENTENCE_END = re.compile(r"""(?<![.!?…])[.!?…]++["'”’»)\]]*+\s|[。！？]++[」』”’）】]*+|\n\s*\n""")
# All up to the last character that no sentence end contains: what follows it may be the beginning of one.
_BEFORE_END = re.compile(r""".*[^.!?…"'”’»)\]。！？」』）】\s]""", re.DOTALL)
_WORD = re.compile(r"[^\W_]")
# The names in a `ChatRequest` for the fields of a `SynthesizeRequest`.
_FIELDS = {"text": "spoken", "model": "spoken", "voice": "spoken.voice", "mime_type": "spoken.mime_type"}


class SentenceBuffer:
    """Text that grows piece by piece and is taken in whole sentences: one producer, one consumer."""

    def __init__(self) -> None:
        self._text = ""
        self._complete = 0  # the end of the last complete sentence
        self._searched = 0  # where the next sentence end may begin
        self._silent = 0  # the end of what is known to have no letter or digit
        self._ended = False
        self._changed = asyncio.Event()

    def append(self, text: str) -> None:
        """Add the next piece of text."""
        begin = len(self._text)
        self._text += text
        for end in _SENTENCE_END.finditer(self._text, self._searched):
            self._complete = end.end()
        if before := _BEFORE_END.match(text):
            self._searched = begin + before.end()
        self._changed.set()

    def end(self) -> None:
        """No more text comes."""
        self._ended = True
        self._changed.set()

    async def take(self) -> str:
        """All complete sentences so far; waits for one. At the end the rest, then the empty string.

        Never returns text without a letter or digit: there would be nothing to say.
        """
        while True:
            self._changed.clear()
            size = len(self._text) if self._ended else self._complete
            if (self._ended or size >= MIN_CHARACTERS) and size > self._silent:
                if _WORD.search(self._text, self._silent, size):
                    taken, self._text = self._text[:size], self._text[size:]
                    self._complete, self._searched, self._silent = 0, max(0, self._searched - size), 0
                    return taken.strip()
                self._silent = size
            if self._ended:
                return ""
            await self._changed.wait()


async def synthesize_sentences(
    clients: Clients, sentences: SentenceBuffer, first: str, *, voice: str, model: str, mime_type: str
) -> AsyncGenerator[bytes]:
    """The speech of a growing text as one stream of encoded audio.

    Args:
        clients: The services.
        sentences: The text, as it is generated.
        first: Its first sentences, already taken.
        voice: The voice's name.
        model: The id of the speech synthesis model.
        mime_type: The media type of the stream, such as `audio/mpeg`.

    Raises:
        ServeError: The voice or the type is unknown, or synthesis failed; fields have the names of the `ChatRequest`.
    """
    voice, _ = await find_voice(clients, voice, model)
    encoder: AudioEncoder | None = None
    text = first
    with rename_fields(**_FIELDS):
        while text:
            request = SynthesizeRequest(text=text, model=model, voice=voice, mime_type="audio/pcm")
            async for event in completed(clients.synthesis.Synthesize(request), "speech"):
                if event.HasField("started") and encoder is None:
                    encoder = await asyncio.to_thread(AudioEncoder, mime_type, event.started.sample_rate_hertz)
                if event.HasField("chunk") and encoder is not None:
                    samples = pcm_samples(event.chunk)
                    if encoded := await asyncio.to_thread(encoder.encode, samples):
                        yield encoded
            text = await sentences.take()
            if text and encoder is not None:
                pause = np.zeros(int(PAUSE_SECONDS * encoder.sample_rate), np.float32)
                if encoded := await asyncio.to_thread(encoder.encode, pause):
                    yield encoded
        if encoder is not None and (encoded := await asyncio.to_thread(encoder.finish)):
            yield encoded
