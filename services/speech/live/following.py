"""One phrase written down while it is being said."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace
from time import monotonic

from servekit.media.scripts import join
from servekit.rpc.errors import Overloaded, ServeError
from services.speech.live.agreement import Agreement
from services.speech.live.endpointing import Phrase
from services.speech.live.keeping import REST_SECONDS, Kept
from services.speech.transcription import LISTENING_RATE, Instructions, Passage, TranscriberScheduler, Window

BUSY_SECONDS = 0.1  # a scheduler with so much before it has no time for words that may yet change
RETRY_SECONDS = 0.25  # least time between two attempts to get a phrase's last words into a full scheduler


@dataclass(frozen=True, slots=True)
class Partial:
    """What is understood of a phrase that goes on: words that stand, and after them words that may change."""

    stable: str
    unstable: str


@dataclass(frozen=True, slots=True)
class Final:
    """A complete phrase.

    Attributes:
        text: What was said; it begins with what was stable.
        passage: All that the model said of it, times from the beginning of the phrase's sound.
        latency: The seconds from the end of its speech until now.
    """

    text: str
    passage: Passage
    latency: float


@dataclass(slots=True)
class _Decoding:
    """One run of the model over a phrase, as far as it went.

    Attributes:
        window: What is decoded.
        task: Ends with what the model said, or None where the scheduler had no time for it.
        until: The end of the speech that it hears, a position in the stream.
        complete: Whether it may be the last: there was a pause.
        told: Whether what it said has been taken in.
    """

    window: Window
    task: "asyncio.Task[Passage | None]"
    until: int
    complete: bool
    told: bool = False

    def result(self) -> Passage | None:
        """What the model said, if it is through."""
        return self.task.result() if self.task.done() else None

    @property
    def refused(self) -> bool:
        """Whether the scheduler had no time for it."""
        return self.task.done() and self.task.result() is None

    def covers(self, phrase: Phrase) -> bool:
        """Whether it hears all that has been said of the phrase."""
        return self.complete and self.until == phrase.speech_end


class Follower:
    """Decodes a growing phrase again and again, and says what of it can be relied upon.

    While somebody speaks, the phrase is decoded whenever enough of it is new and the scheduler is free. At a pause all
    of it is decoded, so that its text is there, or on its way, when the silence has lasted long enough to end it. Where
    no word times are wanted, most of what has become stable is then not decoded again.

    Args:
        scheduler: The model's.
        instructions: How to listen.
        padding: The seconds of sound after the last speech that the model hears.
        partial_seconds: How much speech has to be new for another decoding between pauses.
        overload_seconds: For how long the last words are offered to a scheduler that is full.
    """

    def __init__(
        self,
        scheduler: TranscriberScheduler,
        instructions: Instructions,
        *,
        padding: float,
        partial_seconds: float,
        overload_seconds: float,
    ) -> None:
        self._scheduler = scheduler
        self._instructions = instructions
        self._keeps = not instructions.word_times  # those of the last decoding are the best
        self._padding = padding
        self._partial_seconds = partial_seconds
        self._overload_seconds = overload_seconds

    async def follow(self, phrase: Phrase, stirred: asyncio.Event) -> AsyncGenerator[Partial | Final, None]:
        """Follow a phrase to its end: partials where something has changed, then the final.

        Args:
            phrase: It; it grows and ends meanwhile.
            stirred: Set whenever it has.

        Raises:
            ServeError: The complete phrase could not be decoded.
        """
        agreement = Agreement()
        instructions = self._instructions
        kept = Kept()
        latest: _Decoding | None = None
        try:
            while True:
                stirred.clear()
                rest = latest.result() if latest else None
                if rest and latest and latest.complete and kept.segments and not rest.segments:
                    kept, rest, latest = Kept(), None, None  # it was cut at a bad place
                if rest and latest:
                    passage = kept.followed_by(rest)
                    if latest.covers(phrase) and phrase.ended:
                        yield Final(agreement.settle(_text(passage)), passage, monotonic() - phrase.spoken)
                        return
                    if not latest.told:
                        latest.told = True
                        before = agreement.stable, agreement.unstable
                        if rest.segments:
                            agreement.hear(_text(passage))
                        if agreement.stable:  # of one language; the phrase does not change it any more
                            instructions = replace(instructions, language=passage.language)
                        if self._keeps and not latest.complete:
                            kept = kept.grown(latest.window.samples, rest, agreement)
                        if before != (agreement.stable, agreement.unstable):
                            yield Partial(agreement.stable, agreement.unstable)
                if self._is_due(phrase, latest):
                    if latest:
                        latest.task.cancel()
                    prefix = agreement.stable_after(kept.text)
                    latest = self._decode(phrase, instructions, kept, prefix, stirred)
                await stirred.wait()
        finally:
            if latest:
                latest.task.cancel()

    def _is_due(self, phrase: Phrase, latest: _Decoding | None) -> bool:
        """Whether the phrase is to be decoded now."""
        if phrase.ended:
            return not latest or not latest.covers(phrase) or latest.refused
        if self._scheduler.wait_seconds > BUSY_SECONDS:
            return False
        if phrase.pauses:
            return not latest or not latest.covers(phrase)
        if latest and not latest.task.done():
            return False
        known = latest.until if latest else phrase.speech_start
        return phrase.speech_end - known >= self._partial_seconds * LISTENING_RATE

    def _decode(
        self, phrase: Phrase, instructions: Instructions, kept: Kept, prefix: str, stirred: asyncio.Event
    ) -> _Decoding:
        """Begin to decode the phrase behind what is kept, as far as it goes."""
        sound = phrase.sound(self._padding)[kept.end :]
        if not phrase.pauses:  # a guess, whose word times say where to cut
            instructions = replace(instructions, word_times=self._keeps and len(sound) >= REST_SECONDS * LISTENING_RATE)
        window = Window(sound, instructions, prefix=prefix, guess=not phrase.pauses)
        insists = self._overload_seconds if phrase.ended else 0.0
        task = asyncio.create_task(self._submit(window, insists))
        task.add_done_callback(lambda _: stirred.set())
        return _Decoding(window, task, phrase.speech_end, phrase.pauses)

    async def _submit(self, window: Window, insists: float) -> Passage | None:
        """What the model says of a window; None if the scheduler has no time for it, or fails, and none `insists`."""
        end = monotonic() + insists
        while True:
            try:
                outcome = await self._scheduler.submit(window, self._scheduler.model.cost(window))
                if isinstance(outcome, Passage):
                    return outcome
                window, end, pause = outcome, monotonic() + insists, 0.0
            except ServeError as error:
                if not insists:
                    return None
                pause = max(error.retry_after or 0.0, RETRY_SECONDS)
                if not isinstance(error, Overloaded) or monotonic() + pause > end:
                    raise
            await asyncio.sleep(pause)


def _text(passage: Passage) -> str:
    return join(segment.text for segment in passage.segments)
