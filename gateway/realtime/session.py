"""A live session: a client's events to the speech service, what is understood back as events."""

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
from gateway.realtime.session_config import SAMPLE_BYTES, Listening
from gateway.realtime.stream import Hearing
from gateway.records import fresh_id
from gateway.schemas import realtime as wire
from servekit.rpc.errors import InvalidArgument, NotFound, ServeError, TooLarge, Unavailable

IDLE_SECONDS = 20.0  # without sound, after which the stream to the service ends until there is more
SHORTEST_SECONDS = 0.1  # of sound, that a client may commit by hand

_EVENT = cast("type[wire.ClientEvent]", wire.ClientEvent)


class InputAudioBufferCommitEmpty(InvalidArgument):
    """There is nothing to commit. Its name is the code that OpenAI has for it."""


class RealtimeSession:
    """One client's session.

    Args:
        context: Its socket, accepted.
        listening: How it listens at first.
        model: The id of the model that hears.
        beta: Whether the client speaks the beta's names.
    """

    def __init__(self, context: SocketContext, listening: Listening, model: str, *, beta: bool) -> None:
        self._context = context
        self._state = context.state
        self._listening = listening
        self._model = model
        self._beta = beta
        self._id = fresh_id("sess_")
        self._ends = int(time.time() + self._state.settings.max_realtime_session_seconds)
        self._main = asyncio.current_task()
        self._failure: Exception | None = None
        self._hearing: Hearing | None = None
        self._items = Items(self._tell)
        self._sent = 0.0  # seconds of sound
        self._uncommitted = 0.0  # those since the last commit

    async def run(self) -> None:
        """Answer until the client leaves.

        Raises:
            ServeError: The session cannot go on; what was understood before has been told.
            WebSocketDisconnect: The client has left.
        """
        await self._tell_session(created=True)
        leaving = asyncio.create_task(self._leave())
        try:
            await self._converse()
        except asyncio.CancelledError:
            if self._failure is None or self._main is None:
                raise
            self._main.uncancel()
            await self._say_last_words(self._failure)
            raise self._failure from None
        finally:
            leaving.cancel()
            if self._hearing is not None:
                await self._hearing.cancel()

    async def _converse(self) -> None:
        longest = self._state.settings.max_realtime_session_seconds
        try:
            async with asyncio.timeout(longest) as limit:
                while True:
                    await self._take()
        except TimeoutError:
            if not limit.expired():
                raise
        error = TooLarge(f"a live session lasts {longest:g} s at most")
        await self._say_last_words(error)
        raise error

    async def _take(self) -> None:
        """Do what the client's next event says; what is wrong with it does not end the session."""
        try:
            async with asyncio.timeout(IDLE_SECONDS if self._hearing else None):
                message = await self._context.receive()
        except TimeoutError:
            await self._finish()
            return
        event: wire.ClientEvent | None = None
        try:
            if isinstance(message, bytes):
                await self._hear(message)
                return
            event = decode(message.encode(), _EVENT)
            await self._do(event)
        except (InvalidArgument, NotFound) as error:
            await self._tell(error_event(error, event.event_id if event else ""))

    async def _do(self, event: wire.ClientEvent) -> None:
        match event:
            case wire.Append():
                await self._hear(_decoded(event.audio))
            case wire.Commit():
                await self._commit()
            case wire.Clear():
                await self._clear()
            case wire.UpdateSession() | wire.UpdateBetaSession():
                listening = self._listening.changed(event.session)
                model = self._state.models.resolve("transcribe", listening.writing.model or "", self._context.caller)
                await self._finish()
                self._listening, self._model = listening, model
                self._beta = isinstance(event, wire.UpdateBetaSession)
                await self._tell_session(created=False)

    async def _hear(self, data: bytes) -> None:
        pcm = self._listening.pcm(data)
        if self._hearing is None:
            self._items.base, self._items.by_hand = self._sent, self._listening.turn_detection is None
            transcription, config = self._state.clients.transcription, self._listening.config(self._model)
            self._hearing = Hearing(transcription, config, self._items.heard, self._fail)
        seconds = len(pcm) / SAMPLE_BYTES / self._listening.rate
        self._sent += seconds
        self._uncommitted += seconds
        await self._hearing.hear(pcm)

    async def _commit(self) -> None:
        """End the phrase. Where only the client does that, all that was sent since it last did is an item."""
        if self._uncommitted < SHORTEST_SECONDS:
            raise InputAudioBufferCommitEmpty(
                f"there are {self._uncommitted * 1000:.0f} ms of sound to commit, at least "
                f"{SHORTEST_SECONDS * 1000:.0f} are needed",
                field="input_audio_buffer",
            )
        start, self._uncommitted = self._sent - self._uncommitted, 0.0
        last = self._items.last
        await self._finish()
        if self._listening.turn_detection is None:
            await self._items.commit(start, self._sent)
        elif self._items.last == last:
            raise InputAudioBufferCommitEmpty("nothing was said since the last item", field="input_audio_buffer")

    async def _clear(self) -> None:
        hearing, self._hearing, self._uncommitted = self._hearing, None, 0.0
        if hearing is not None:
            await hearing.cancel()
        self._items.clear()
        await self._tell(wire.Cleared())

    async def _finish(self) -> None:
        """End the stream to the service, if there is one, and tell what it still understands."""
        if self._hearing is not None:
            await self._hearing.finish()
            self._hearing = None

    def _fail(self, error: Exception) -> None:
        """The stream to the service has broken off."""
        self._hearing = None
        self._stop(error)

    async def _leave(self) -> None:
        await self._state.shutting_down.wait()
        self._stop(Unavailable("the gateway is stopping", retry_after=1.0))

    def _stop(self, error: Exception) -> None:
        if self._failure is None and self._main is not None:
            self._failure = error
            self._main.cancel()

    async def _say_last_words(self, error: Exception) -> None:
        """Tell what is still understood, or that the running phrase is lost."""
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._finish()
                if isinstance(error, ServeError):
                    await self._items.fail(error)

    async def _tell(self, event: wire.ServerEvent) -> None:
        event.event_id = fresh_id("event_")
        await self._context.send(event)

    async def _tell_session(self, *, created: bool) -> None:
        writing = msgspec.structs.replace(self._listening.writing, model=self._model)
        listening = replace(self._listening, writing=writing)
        if not self._beta:
            state = wire.SessionState(id=self._id, expires_at=self._ends, audio=listening.audio())
            await self._tell((wire.SessionCreated if created else wire.SessionUpdated)(session=state))
            return
        beta = wire.BetaSessionState(
            id=self._id,
            expires_at=self._ends,
            input_audio_format=listening.beta_format(),
            input_audio_transcription=writing,
            turn_detection=listening.turn_detection,
        )
        await self._tell((wire.BetaSessionCreated if created else wire.BetaSessionUpdated)(session=beta))


def error_event(error: ServeError, event_id: str = "") -> wire.Error:
    """An error as an event; `event_id` is that of the client's event that is wrong."""
    body = error_answer(error).error
    told = wire.EventError(body.message, body.type, body.param, body.code, event_id or None)
    return wire.Error(error=told)


def _decoded(audio: str) -> bytes:
    try:
        return base64.b64decode(audio, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidArgument("the sound is not base64", field="audio") from error
