"""The phrases of a live session as items of a conversation, told as they come about."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from polyphony.speech.v1.transcription_pb2 import FinalTranscript, InterimTranscript, StreamingTranscribeResponse

from gateway.http.errors import error_answer
from gateway.records import fresh_id
from gateway.schemas import realtime as wire
from servekit.media.scripts import join
from servekit.rpc.errors import ServeError

Tell = Callable[[wire.ServerEvent], Awaitable[None]]


@dataclass(slots=True)
class _Item:
    """What is being said.

    Attributes:
        told: Its text as far as its deltas go.
        before: Of that, what phrases said that are over.
        tentative: The words after `told` that were told last, and may change.
        heard: When it was said, as far as that is known.
    """

    id: str
    told: str = ""
    before: str = ""
    tentative: str = ""
    heard: wire.Heard | None = None


class Items:
    """The items of one session.

    Args:
        tell: Sends an event to the client.

    Attributes:
        base: When the stream to the speech service began, in seconds of the session's sound.
        by_hand: Whether the client ends items; else each phrase is one.
        last: The id of the last that is complete.
    """

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._item: _Item | None = None
        self.base = 0.0
        self.by_hand = False
        self.last: str | None = None

    async def heard(self, response: StreamingTranscribeResponse) -> None:
        """Take in what the speech service says."""
        match response.WhichOneof("event"):
            case "utterance_started":
                await self._begin(response.utterance_started.start_seconds)
            case "interim" if self._item:
                await self._go_on(self._item, response.interim)
            case "final" if self._item:
                await self._end(self._item, response.final)

    async def commit(self, start: float, end: float) -> None:
        """End the item by hand; it may be of silence.

        Args:
            start: Of its sound, in seconds of the session's.
            end: Likewise.
        """
        item = self._item or _Item(fresh_id("item_"))
        await self._complete(item, item.heard or wire.Heard(round(start, 3), round(end, 3), "", 0))

    def clear(self) -> None:
        """Forget the running item."""
        self._item = None

    async def fail(self, error: ServeError) -> None:
        """Say that the running item is lost, if there is one."""
        if self._item is not None:
            await self._tell(wire.Failed(item_id=self._item.id, error=error_answer(error).error))

    async def _begin(self, start: float) -> None:
        if self._item is not None:
            return
        self._item = _Item(fresh_id("item_"))
        if not self.by_hand:
            start_ms = round((self.base + start) * 1000)
            await self._tell(wire.SpeechStarted(audio_start_ms=start_ms, item_id=self._item.id))

    async def _go_on(self, item: _Item, interim: InterimTranscript) -> None:
        await self._tell_delta(item, interim.committed_text)
        if item.tentative != interim.tentative_text:
            item.tentative = interim.tentative_text
            await self._tell(wire.Tentative(item_id=item.id, text=item.tentative))

    async def _end(self, item: _Item, final: FinalTranscript) -> None:
        await self._tell_delta(item, final.segment.text)
        time = final.segment.time
        start = item.heard.start if item.heard else round(self.base + time.start_seconds, 3)
        end = round(self.base + time.end_seconds, 3)
        item.heard, item.tentative = wire.Heard(start, end, final.language, final.latency_ms), ""
        if self.by_hand:
            item.before = item.told
            return
        await self._tell(wire.SpeechStopped(audio_end_ms=round(end * 1000), item_id=item.id))
        await self._complete(item, item.heard)

    async def _tell_delta(self, item: _Item, text: str) -> None:
        """Tell the words of a phrase that are new."""
        whole = join((item.before, text)) if text else item.told
        if delta := whole[len(item.told) :]:
            item.told = whole
            await self._tell(wire.Delta(item_id=item.id, delta=delta))

    async def _complete(self, item: _Item, heard: wire.Heard) -> None:
        self._item = None
        await self._tell(wire.Committed(item_id=item.id, previous_item_id=self.last))
        self.last = item.id
        usage = wire.Duration(round(heard.end - heard.start, 3))
        await self._tell(wire.Completed(item_id=item.id, transcript=item.told, usage=usage, polyphony=heard))
