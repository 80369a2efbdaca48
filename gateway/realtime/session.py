"""A live session: a client's events to the speech service, its transcripts back as events."""

import asyncio
import base64
import binascii
import time
from contextlib import suppress
from dataclasses import replace
from typing import cast

import msgspec

from gateway.http.bodies import decode
from gateway.http.errors import error_answer
from gateway.http.responses import CLOSE_SECONDS
from gateway.http.sockets import SocketContext
from gateway.realtime.items import Items
from gateway.realtime.session_config import SAMPLE_BYTES, SessionConfig
from gateway.realtime.stream import TranscriptionStream
from gateway.records.rows import fresh_id
from gateway.schemas import realtime as wire
from servekit.errors import InvalidArgument, NotFound, ServeError, Timeout, TooLarge, Unavailable

IDLE_SECONDS = 20.0  # without audio, after which the stream to the service ends until there is more
MIN_COMMIT_SECONDS = 0.1  # of audio that a client may commit

_EVENT = cast("type[wire.ClientEvent]", wire.ClientEvent)


class InputAudioBufferCommitEmpty(InvalidArgument):
    """The audio buffer has too little to commit. Its name gives the code that OpenAI has for this."""


class RealtimeSession:
    """One client's session.

    Args:
        context: The context of its socket, which is accepted.
        config: Its first configuration.
        model: The id of the transcription model.
        beta: Whether the client uses the names of the beta.
    """

    def __init__(self, context: SocketContext, config: SessionConfig, model: str, *, beta: bool) -> None:
        self._context = context
        self._state = context.state
        self._config = config
        self._model = model
        self._beta = beta
        self._id = fresh_id("sess_")
        self._expires_at = int(time.time() + self._state.settings.max_realtime_session_seconds)
        self._main = asyncio.current_task()
        self._failure: Exception | None = None
        self._stream: TranscriptionStream | None = None
        self._items = Items(self._send_event)
        self._received_seconds = 0.0  # of audio, since the session began
        self._uncommitted_seconds = 0.0  # of audio, since the last commit

    async def run(self) -> None:
        """Handle events until the client disconnects.

        Raises:
            ServeError: The session failed; what was transcribed before has been sent.
            WebSocketDisconnect: The client has disconnected.
        """
        await self._send_session(created=True)
        shutdown = asyncio.create_task(self._close_at_shutdown())
        try:
            await self._handle_events()
        except asyncio.CancelledError:
            if self._failure is None or self._main is None:
                raise
            self._main.uncancel()
            await self._finish_before_close(self._failure)
            raise self._failure from None
        finally:
            shutdown.cancel()
            if self._stream is not None:
                await self._stream.cancel()

    async def _handle_events(self) -> None:
        longest = self._state.settings.max_realtime_session_seconds
        try:
            async with asyncio.timeout(longest) as limit:
                while True:
                    await self._handle_next()
        except TimeoutError:
            if not limit.expired():
                raise
        error = TooLarge(f"a live session must last at most {longest:g} s")
        await self._finish_before_close(error)
        raise error

    async def _handle_next(self) -> None:
        """Handle the client's next event; an invalid event does not end the session."""
        longest = self._state.settings.max_realtime_idle_seconds
        try:
            async with asyncio.timeout(IDLE_SECONDS if self._stream else longest):
                message = await self._context.receive()
        except TimeoutError:
            if self._stream is None:
                raise Timeout(f"a live session must get an event from its client within {longest:g} s") from None
            await self._finish()
            return
        event: wire.ClientEvent | None = None
        try:
            if isinstance(message, bytes):
                await self._send_audio(message)
                return
            event = decode(message.encode(), _EVENT)
            await self._handle(event)
        except (InvalidArgument, NotFound) as error:
            await self._send_event(error_event(error, event.event_id if event else ""))

    async def _handle(self, event: wire.ClientEvent) -> None:
        match event:
            case wire.Append():
                await self._send_audio(_decoded(event.audio))
            case wire.Commit():
                await self._commit()
            case wire.Clear():
                await self._clear()
            case wire.UpdateSession() | wire.UpdateBetaSession():
                config = self._config.changed(event.session)
                model = self._state.models.resolve("transcribe", config.transcription.model or "", self._context.caller)
                await self._finish()
                self._config, self._model = config, model
                self._beta = isinstance(event, wire.UpdateBetaSession)
                await self._send_session(created=False)

    async def _send_audio(self, data: bytes) -> None:
        pcm = self._config.pcm(data)
        if self._stream is None:
            self._items.base, self._items.manual_commit = self._received_seconds, self._config.turn_detection is None
            transcription, config = self._state.clients.transcription, self._config.config(self._model)
            self._stream = TranscriptionStream(transcription, config, self._items.on_response, self._fail)
        seconds = len(pcm) / SAMPLE_BYTES / self._config.rate
        self._received_seconds += seconds
        self._uncommitted_seconds += seconds
        await self._stream.send(pcm)

    async def _commit(self) -> None:
        """End the utterance. Where only the client does so, the item is all audio since its last commit."""
        if self._uncommitted_seconds < MIN_COMMIT_SECONDS:
            raise InputAudioBufferCommitEmpty(
                f"input_audio_buffer must have at least {MIN_COMMIT_SECONDS * 1000:.0f} ms of audio, "
                f"got {self._uncommitted_seconds * 1000:.0f} ms",
                field="input_audio_buffer",
            )
        start, self._uncommitted_seconds = self._received_seconds - self._uncommitted_seconds, 0.0
        last = self._items.last
        await self._finish()
        if self._config.turn_detection is None:
            await self._items.commit(start, self._received_seconds)
        elif self._items.last == last:
            raise InputAudioBufferCommitEmpty(
                "input_audio_buffer must have speech since the last item", field="input_audio_buffer"
            )

    async def _clear(self) -> None:
        stream, self._stream, self._uncommitted_seconds = self._stream, None, 0.0
        if stream is not None:
            await stream.cancel()
        self._items.clear()
        await self._send_event(wire.Cleared())

    async def _finish(self) -> None:
        """End the stream to the service, if there is one, and send its remaining transcripts."""
        if self._stream is not None:
            await self._stream.finish()
            self._stream = None

    def _fail(self, error: Exception) -> None:
        """End the session: the stream to the service failed."""
        self._stream = None
        self._stop(error)

    async def _close_at_shutdown(self) -> None:
        await self._state.shutting_down.wait()
        self._stop(Unavailable("the gateway is shutting down", retry_after=1.0))

    def _stop(self, error: Exception) -> None:
        if self._failure is None and self._main is not None:
            self._failure = error
            self._main.cancel()

    async def _finish_before_close(self, error: Exception) -> None:
        """Send the remaining transcripts, or that the running item failed."""
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._finish()
                if isinstance(error, ServeError):
                    await self._items.fail(error)

    async def _send_event(self, event: wire.ServerEvent) -> None:
        event.event_id = fresh_id("event_")
        await self._context.send(event)

    async def _send_session(self, *, created: bool) -> None:
        transcription = msgspec.structs.replace(self._config.transcription, model=self._model)
        config = replace(self._config, transcription=transcription)
        if not self._beta:
            state = wire.SessionState(id=self._id, expires_at=self._expires_at, audio=config.audio())
            await self._send_event((wire.SessionCreated if created else wire.SessionUpdated)(session=state))
            return
        beta = wire.BetaSessionState(
            id=self._id,
            expires_at=self._expires_at,
            input_audio_format=config.beta_format(),
            input_audio_transcription=transcription,
            turn_detection=config.turn_detection,
        )
        await self._send_event((wire.BetaSessionCreated if created else wire.BetaSessionUpdated)(session=beta))


def error_event(error: ServeError, event_id: str = "") -> wire.Error:
    """An error as an event; `event_id` is that of the client's event that caused it."""
    body = error_answer(error).error
    detail = wire.EventError(body.message, body.type, body.param, body.code, event_id or None)
    return wire.Error(error=detail)


def _decoded(audio: str) -> bytes:
    try:
        return base64.b64decode(audio, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidArgument("audio must be base64", field="audio") from error
