"""The RPC Synthesize: synthesizes the pieces of a text one after another, as one stream of encoded audio.

The first piece is sent while the others are synthesized; the scheduler buffers a number of events for a slow client, so
that playback has no gaps.
"""

import asyncio
import math
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from polyphony.speech.v1 import synthesis_pb2 as pb

from servekit.context import CancellationToken
from servekit.errors import InvalidArgument, TooLarge
from servekit.media.audio_encoder import AudioEncoder
from servekit.rpc.bounds import SPEED, within
from servekit.scheduling.stream import StreamScheduler
from services.speech.settings import SpeechSettings
from services.speech.synthesis import Speaker, Synthesizer
from services.speech.synthesis.catalogue_voices import CatalogueVoices
from services.speech.synthesis.normalization import english
from services.speech.synthesis.pace import TimeStretcher, silence
from services.speech.synthesis.scripts import has_words, spoken, unreadable
from services.speech.synthesis.sentences import Piece, plan, sentences


class VoiceSelector(Protocol):
    """Chooses who speaks a text; `services.speech.voices` implements it."""

    async def choose(
        self, model: str, voice: str, language: str, text: str
    ) -> tuple[StreamScheduler[Synthesizer], Speaker]:
        """Choose the scheduler and the speaker for a text; see `VoiceCatalogue.choose`."""


class Synthesis:
    """Synthesizes texts.

    Args:
        voices: The available voices.
        catalogue_voices: Names the models that support a letter in error messages.
        settings: The maximum length of a text.
    """

    def __init__(self, voices: VoiceSelector, catalogue_voices: CatalogueVoices, settings: SpeechSettings) -> None:
        self._voices = voices
        self._catalogue_voices = catalogue_voices
        self._max_characters = settings.max_text_characters

    async def synthesize(self, request: pb.SynthesizeRequest) -> AsyncGenerator[pb.SynthesizeResponse]:
        """Synthesize a text; the audio begins after the first clause.

        Raises:
            TooLarge: The text is too long.
            InvalidArgument: The text has no words or the voice does not support its letters, or a field is invalid.
            NotFound: No such model is loaded, or the tenant has no such voice.
        """
        most = self._max_characters
        if len(request.text) > most:
            raise TooLarge(f"text must have at most {most} characters, got {len(request.text)}", field="text")
        speed = within(request.speed or 1.0, *SPEED, "speed")
        text = await asyncio.to_thread(spoken, request.text)
        if not has_words(text):
            raise InvalidArgument("text must contain words", field="text")
        scheduler, speaker = await self._voices.choose(request.model, request.voice, request.language, text)
        if letter := unreadable(text, speaker.language):
            advice = await asyncio.to_thread(self._catalogue_voices.advice, letter)
            message = f"this voice reads {speaker.language!r}, and does not support {letter!r}; {advice}"
            raise InvalidArgument(message, field="text")
        encoder = await asyncio.to_thread(AudioEncoder, request.mime_type or "audio/pcm", scheduler.model.sample_rate)
        work = _Speech(text, speaker, request.voice, speed, encoder, scheduler)
        async with aclosing(scheduler.stream(work.run, len(text))) as events:
            async for event in events:
                yield event


class _Speech:
    """The synthesis of one text, run by the thread of a slot."""

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
        self._model_speed = min(max(speed, slowest), fastest)

    def run(self, model: Synthesizer, cancellation: CancellationToken) -> Iterator[pb.SynthesizeResponse]:
        """Yield the events of the response."""
        rate = self._encoder.sample_rate
        started = pb.SynthesisStarted(
            mime_type=self._encoder.mime_type, sample_rate_hertz=rate, model=self._model_id, voice=self._voice
        )
        yield pb.SynthesizeResponse(started=started)
        length = 0
        for samples in self._audio(model, cancellation):
            length += len(samples)
            if chunk := self._encoder.encode(samples):
                yield pb.SynthesizeResponse(chunk=chunk)
        if chunk := self._encoder.finish():
            yield pb.SynthesizeResponse(chunk=chunk)
        yield pb.SynthesizeResponse(finished=pb.SynthesisFinished(duration_seconds=length / rate))

    def _audio(self, model: Synthesizer, cancellation: CancellationToken) -> Iterator[NDArray[np.float32]]:
        """The audio of the pieces, with silence between them."""
        pause = 0.0
        for piece in plan(self._sentences(), model.max_characters):
            cancellation.raise_if_cancelled()
            if pause:
                yield silence(pause / self._speed, model.sample_rate)
            yield from self._paced(model, piece.text, cancellation)
            pause = piece.pause

    def _sentences(self) -> Iterator[Piece]:
        """The normalized sentences."""
        for sentence in sentences(self._text):
            normalized = english(sentence.text) if self._speaker.language == "en" else sentence.text
            if has_words(normalized):
                yield Piece(normalized, sentence.pause)

    def _paced(self, model: Synthesizer, text: str, cancellation: CancellationToken) -> Iterator[NDArray[np.float32]]:
        audio = model.speak(text, self._speaker, self._model_speed, cancellation)
        if math.isclose(self._model_speed, self._speed):
            yield from audio
            return
        stretcher = TimeStretcher(model.sample_rate, self._speed / self._model_speed)
        for samples in audio:
            yield stretcher.feed(samples)
        yield stretcher.finish()
