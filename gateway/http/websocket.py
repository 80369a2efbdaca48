"""One WebSocket connection, with limits that uvicorn does not have."""

import asyncio
from typing import Any

from uvicorn.protocols.websockets.wsproto_impl import WSProtocol
from wsproto import events

# A ping or an empty fragment has 6 bytes and costs 10 to 20 microseconds: one read of the socket brings 40,000 of them.
FRAMES_AT_ONCE = 64
MAX_FRAMES = 4096


class WebSocketProtocol(WSProtocol):
    """One connection. Its handler closes it at shutdown.

    It parses a message only once the handler has received the one before, and `FRAMES_AT_ONCE` frames before the event
    loop does other work. The client is disconnected if it sends `MAX_FRAMES` without completing a message: fragments,
    pings and pongs.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.unread = 0
        self._frames = 0  # since the last complete message
        self._continuing = False  # whether `_continue` is scheduled

    @property
    def write_paused(self) -> bool:
        """Whether more is to be sent once the client has read what was sent."""
        return not self.writable.is_set()

    def handle_events(self) -> None:
        """Handle the next frames: up to the end of a message, at most `FRAMES_AT_ONCE`."""
        if self._continuing:
            return
        for count, event in enumerate(self.conn.events(), 1):
            self._handle(event)
            if self.read_paused:  # by a complete message, until `receive`
                self._frames = 0
                return
            if count == FRAMES_AT_ONCE:
                self._continuing = True
                self.transport.pause_reading()
                self.loop.call_soon(self._continue)
                return

    async def receive(self) -> Any:
        """Return the next message, and parse the one after it."""
        message = await super().receive()
        await asyncio.sleep(0)  # a client that has sent many messages does not keep the event loop
        self.handle_events()
        return message

    def pause_writing(self) -> None:
        """Stop reading from a client that does not read: the pongs to its pings would fill the memory."""
        super().pause_writing()
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        self.unread = 0
        super().resume_writing()
        self._resume_reading()

    def shutdown(self) -> None:
        """Leave an open socket to its handler, which waits for `AppState.shutting_down`."""
        if not self.handshake_complete:
            super().shutdown()

    def _continue(self) -> None:
        self._continuing = False
        if not self.disconnected:
            self._resume_reading()
            self.handle_events()

    def _resume_reading(self) -> None:
        if self.writable.is_set() and not (self.read_paused or self._continuing):
            self.transport.resume_reading()

    def _handle(self, event: events.Event) -> None:
        self._frames += 1
        match event:
            case events.CloseConnection():
                self.handle_close(event)
            case _ if self.close_sent:
                return
            case _ if self._frames > MAX_FRAMES:
                self._refuse()
            case events.Request():
                self.handle_connect(event)
            case events.TextMessage() | events.BytesMessage():
                self.handle_message(event)
            case events.Ping():
                self.handle_ping(event)
            case events.Pong():
                self.handle_pong(event)

    def _refuse(self) -> None:
        """Disconnect the client, with the code for a violated policy."""
        self.close_sent = True
        code, reason = 1008, f"a message must have at most {MAX_FRAMES} frames, pings included"
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        self.transport.write(self.conn.send(events.CloseConnection(code=code, reason=reason)))
        self.transport.close()
