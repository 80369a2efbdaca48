"""The utterances of a live session as items of a conversation, sent as events."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from polyphony.speech.v1.transcription_pb2 import FinalTranscript, InterimTranscript, StreamingTranscribeResponse

from gateway.http.errors import error_answer
from gateway.records.rows import fresh_id
from gateway.schemas import realtime as wire
from servekit.errors import ServeError
from servekit.media.scripts import join

Send = Callable[[wire.ServerEvent], Awaitable[None]]


@dataclass(slots=True)
class _Item:
    """The item of the running utterance.

    Attributes:
        text: The text of its deltas so far.
        previous: The part of that text from utterances that have ended.
        interim: The interim words after `text` that were sent last.
        timing: Its time, as far as it is known.
    """

    id: str
    text: str = ""
    previous: str = ""
    interim: str = ""
    timing: wire.ItemTiming | None = None


class Items:
    """The items of one session.

    Args:
        send: Sends an event to the client.

    Attributes:
        base: When the stream to the speech service began, in seconds of the session's audio.
        manual_commit: Whether the client ends items; else each utterance is one.
        last: The id of the last complete item.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self._item: _Item | None = None
        self.base = 0.0
        self.manual_commit = False
        self.last: str | None = None

    async def on_response(self, response: StreamingTranscribeResponse) -> None:
        """Send the events that a response of the speech service stands for."""
        match response.WhichOneof("event"):
            case "utterance_started":
                await self._begin(response.utterance_started.start_seconds)
            case "interim" if self._item:
                await self._update(self._item, response.interim)
            case "final" if self._item:
                await self._end(self._item, response.final)

    async def commit(self, start: float, end: float) -> None:
        """End the item as the client commits it; it may be silence.

        Args:
            start: The start of its audio, in seconds of the session's audio.
            end: The end of its audio, likewise.
        """
        item = self._item or _Item(fresh_id("item_"))
        await self._complete(item, item.timing or wire.ItemTiming(round(start, 3), round(end, 3), "", 0))

    def clear(self) -> None:
        """Discard the running item."""
        self._item = None

    async def fail(self, error: ServeError) -> None:
        """Send that the running item failed, if there is one."""
        if self._item is not None:
            await self._send(wire.Failed(item_id=self._item.id, error=error_answer(error).error))

    async def _begin(self, start: float) -> None:
        if self._item is not None:
            return
        self._item = _Item(fresh_id("item_"))
        if not self.manual_commit:
            start_ms = round((self.base + start) * 1000)
            await self._send(wire.SpeechStarted(audio_start_ms=start_ms, item_id=self._item.id))

    async def _update(self, item: _Item, interim: InterimTranscript) -> None:
        await self._send_delta(item, interim.committed_text)
        if item.interim != interim.tentative_text:
            item.interim = interim.tentative_text
            await self._send(wire.InterimTranscript(item_id=item.id, text=item.interim))

    async def _end(self, item: _Item, final: FinalTranscript) -> None:
        await self._send_delta(item, final.segment.text)
        time = final.segment.time
        start = item.timing.start if item.timing else round(self.base + time.start_seconds, 3)
        end = round(self.base + time.end_seconds, 3)
        item.timing, item.interim = wire.ItemTiming(start, end, final.language, final.latency_ms), ""
        if self.manual_commit:
            item.previous = item.text
            return
        await self._send(wire.SpeechStopped(audio_end_ms=round(end * 1000), item_id=item.id))
        await self._complete(item, item.timing)

    async def _send_delta(self, item: _Item, text: str) -> None:
        """Send the final words that were not sent yet."""
        whole = join((item.previous, text)) if text else item.text
        if delta := whole[len(item.text) :]:
            item.text = whole
            await self._send(wire.Delta(item_id=item.id, delta=delta))

    async def _complete(self, item: _Item, timing: wire.ItemTiming) -> None:
        self._item = None
        await self._send(wire.Committed(item_id=item.id, previous_item_id=self.last))
        self.last = item.id
        usage = wire.Duration(round(timing.end - timing.start, 3))
        await self._send(wire.Completed(item_id=item.id, transcript=item.text, usage=usage, polyphony=timing))
