"""Speaking: a text's pieces through a voice, one after another, as one stream of encoded sound.

The first piece is on its way while the others are spoken; the scheduler runs ahead of a slow reader by as many events
as it holds, so that playback has no gaps.
"""

import asyncio
import math
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing

import numpy as np
from numpy.typing import NDArray
from polyphony.speech.v1 import synthesis_pb2 as pb

from servekit.media.audio_encoder import AudioEncoder
from servekit.rpc.bounds import SPEED, within
from servekit.rpc.context import CancellationToken
from servekit.rpc.errors import InvalidArgument, TooLarge
from servekit.scheduling.stream import StreamScheduler
from services.speech.settings import SpeechSettings
from services.speech.synthesis import Speaker, Synthesizer
from services.speech.synthesis.catalogue_voices import CatalogueVoices
from services.speech.synthesis.normalization import english
from services.speech.synthesis.pace import Stretcher, silence
from services.speech.synthesis.scripts import has_words, spoken, unreadable
from services.speech.synthesis.sentences import Piece, plan, sentences
from services.speech.voices.voices import VoiceCatalogue


class Synthesis:
    """Speaks texts.

    Args:
        voices: Who there is to speak.
        catalogue_voices: Which models read what, for those who ask the wrong one.
        settings: How long a text may be.
    """

    def __init__(self, voices: VoiceCatalogue, catalogue_voices: CatalogueVoices, settings: SpeechSettings) -> None:
        self._voices = voices
        self._catalogue_voices = catalogue_voices
        self._max_characters = settings.max_text_characters

    async def synthesize(self, request: pb.SynthesizeRequest) -> AsyncGenerator[pb.SynthesizeResponse]:
        """Speak; the sound begins with the first clause.

        Raises:
            TooLarge: The text is too long.
            InvalidArgument: There is nothing to say in it, the voice cannot read it, or a field has no such value.
            NotFound: There is no such model, or the tenant has no such voice.
        """
        most = self._max_characters
        if len(request.text) > most:
            raise TooLarge(f"{len(request.text)} characters to speak, at most {most} are accepted", field="text")
        speed = within(request.speed or 1.0, *SPEED, "speed")
        text = await asyncio.to_thread(spoken, request.text)
        if not has_words(text):
            raise InvalidArgument("there are no words to speak in the text", field="text")
        scheduler, speaker = await self._voices.choose(request.model, request.voice, request.language, text)
        if letter := unreadable(text, speaker.language):
            who = await asyncio.to_thread(self._catalogue_voices.advice, letter)
            message = f"this voice speaks {speaker.language!r} and cannot read {letter!r}; {who}"
            raise InvalidArgument(message, field="text")
        encoder = await asyncio.to_thread(AudioEncoder, request.mime_type or "audio/pcm", scheduler.model.sample_rate)
        work = _Speech(text, speaker, request.voice, speed, encoder, scheduler)
        async with aclosing(scheduler.stream(work.run, len(text))) as events:
            async for event in events:
                yield event


class _Speech:
    """One text on its way: what the slot's thread does."""

    def __init__(
        self,
        text: str,
        speaker: Speaker,
        voice: str,
        speed: float,
        encoder: AudioEncoder,
        scheduler: StreamScheduler[Synthesizer],
    ) -> None:
        self._text, self._speaker, self._speed = text, speaker, speed
        self._voice = speaker.voice or voice
        self._encoder = encoder
        self._model_id = scheduler.spec.id
        slowest, fastest = scheduler.model.speeds
        self._own_speed = min(max(speed, slowest), fastest)

    def run(self, model: Synthesizer, cancellation: CancellationToken) -> Iterator[pb.SynthesizeResponse]:
        """The events of the answer."""
        rate = self._encoder.sample_rate
        started = pb.SynthesisStarted(
            mime_type=self._encoder.mime_type, sample_rate_hertz=rate, model=self._model_id, voice=self._voice
        )
        yield pb.SynthesizeResponse(started=started)
        length = 0
        for samples in self._sound(model, cancellation):
            length += len(samples)
            if chunk := self._encoder.encode(samples):
                yield pb.SynthesizeResponse(chunk=chunk)
        if chunk := self._encoder.finish():
            yield pb.SynthesizeResponse(chunk=chunk)
        yield pb.SynthesizeResponse(finished=pb.SynthesisFinished(duration_seconds=length / rate))

    def _sound(self, model: Synthesizer, cancellation: CancellationToken) -> Iterator[NDArray[np.float32]]:
        """Pieces, with silence between them."""
        pause = 0.0
        for piece in plan(self._said(), model.max_characters):
            cancellation.raise_if_cancelled()
            if pause:
                yield silence(pause / self._speed, model.sample_rate)
            yield from self._paced(model, piece.text, cancellation)
            pause = piece.pause

    def _said(self) -> Iterator[Piece]:
        """Sentences as they are read aloud."""
        for sentence in sentences(self._text):
            said = english(sentence.text) if self._speaker.language == "en" else sentence.text
            if has_words(said):
                yield Piece(said, sentence.pause)

    def _paced(self, model: Synthesizer, text: str, cancellation: CancellationToken) -> Iterator[NDArray[np.float32]]:
        sound = model.speak(text, self._speaker, self._own_speed, cancellation)
        if math.isclose(self._own_speed, self._speed):
            yield from sound
            return
        stretcher = Stretcher(model.sample_rate, self._speed / self._own_speed)
        for samples in sound:
            yield stretcher.feed(samples)
        yield stretcher.finish()
