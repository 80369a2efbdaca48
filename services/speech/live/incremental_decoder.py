"""Incremental decoding of an utterance while it is spoken."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace
from time import monotonic

from servekit.errors import Overloaded, ServeError
from servekit.media.scripts import join
from services.speech.audio import SAMPLE_RATE
from services.speech.live.committed_prefix import REST_SECONDS, CommittedPrefix
from services.speech.live.endpointing import Utterance
from services.speech.live.local_agreement import LocalAgreement
from services.speech.transcription import TranscriberScheduler, TranscriptionOptions, Window, WindowResult

BUSY_SECONDS = 0.1  # with a longer queue, interim decodings are skipped
RETRY_SECONDS = 0.25  # between two attempts to submit a finished utterance to a full queue


@dataclass(frozen=True, slots=True)
class InterimResult:
    """The committed prefix of an unfinished utterance, and the tentative words after it."""

    committed: str
    tentative: str


@dataclass(frozen=True, slots=True)
class FinalResult:
    """The final result of an utterance.

    Attributes:
        text: The text, which starts with the committed prefix.
        result: The result of the model; times count from the start of the utterance.
        latency: The seconds from the end of the speech to this result.
    """

    text: str
    result: WindowResult
    latency: float


@dataclass(slots=True)
class _Decoding:
    """One decoding of an utterance as far as it was spoken.

    Attributes:
        window: The window that is decoded.
        task: Returns the result, or None where the scheduler rejected the window.
        until: The end of the speech in the window, in samples of the stream.
        complete: Whether the window ends at a pause, so that it may be the last.
        reported: Whether the result has been processed.
    """

    window: Window
    task: "asyncio.Task[WindowResult | None]"
    until: int
    complete: bool
    reported: bool = False

    def result(self) -> WindowResult | None:
        """The result, if the decoding is finished."""
        return self.task.result() if self.task.done() else None

    @property
    def rejected(self) -> bool:
        """Whether the scheduler rejected the window."""
        return self.task.done() and self.task.result() is None

    def covers(self, utterance: Utterance) -> bool:
        """Whether the window has all speech of the utterance."""
        return self.complete and self.until == utterance.speech_end


class IncrementalDecoder:
    """Decodes a growing utterance repeatedly, and commits the words that consecutive decodings agree on.

    During speech the utterance is decoded whenever enough of it is new and the scheduler is idle. At a pause all of
    it is decoded, so that the text is available when the silence is long enough to end the utterance. Where no word
    times are requested, most of the committed prefix is not decoded again.

    Args:
        scheduler: The scheduler of the transcriber.
        options: The options of the transcription.
        padding: The seconds of audio after the last speech that are decoded.
        interim_seconds: The seconds of new speech that trigger a decoding between pauses.
        overload_seconds: How long a finished utterance is submitted again to a full queue.
    """

    def __init__(
        self,
        scheduler: TranscriberScheduler,
        options: TranscriptionOptions,
        *,
        padding: float,
        interim_seconds: float,
        overload_seconds: float,
    ) -> None:
        self._scheduler = scheduler
        self._options = options
        self._trims = not options.word_times  # word times are best from one decoding of the whole
        self._padding = padding
        self._interim_seconds = interim_seconds
        self._overload_seconds = overload_seconds

    async def decode(
        self, utterance: Utterance, changed: asyncio.Event
    ) -> AsyncGenerator[InterimResult | FinalResult, None]:
        """Decode an utterance to its end: interim results where the text changes, then the final result.

        Args:
            utterance: The utterance, which grows and ends meanwhile.
            changed: Set whenever the utterance has changed.

        Raises:
            ServeError: The finished utterance could not be decoded.
        """
        agreement = LocalAgreement()
        options = self._options
        committed_prefix = CommittedPrefix()
        latest: _Decoding | None = None
        try:
            while True:
                changed.clear()
                rest = latest.result() if latest else None
                if rest and latest and latest.complete and committed_prefix.segments and not rest.segments:
                    committed_prefix, rest, latest = (
                        CommittedPrefix(),
                        None,
                        None,
                    )  # the cut was wrong: decode the whole again
                if rest and latest:
                    result = committed_prefix.followed_by(rest)
                    if latest.covers(utterance) and utterance.ended:
                        yield FinalResult(
                            agreement.finalize(_text(result)), result, monotonic() - utterance.last_speech_at
                        )
                        return
                    if not latest.reported:
                        latest.reported = True
                        before = agreement.committed, agreement.tentative
                        if rest.segments:
                            agreement.update(_text(result))
                        if agreement.committed:  # the language of committed words does not change
                            options = replace(options, language=result.language)
                        if self._trims and not latest.complete:
                            committed_prefix = committed_prefix.extended(latest.window.samples, rest, agreement)
                        if before != (agreement.committed, agreement.tentative):
                            yield InterimResult(agreement.committed, agreement.tentative)
                if self._is_due(utterance, latest):
                    if latest:
                        latest.task.cancel()
                    prefix = agreement.committed_after(committed_prefix.text)
                    latest = self._decode(utterance, options, committed_prefix, prefix, changed)
                await changed.wait()
        finally:
            if latest:
                latest.task.cancel()

    def _is_due(self, utterance: Utterance, latest: _Decoding | None) -> bool:
        """Whether the utterance should be decoded now."""
        if utterance.ended:
            return not latest or not latest.covers(utterance) or latest.rejected
        if self._scheduler.wait_seconds > BUSY_SECONDS:
            return False
        if utterance.pauses:
            return not latest or not latest.covers(utterance)
        if latest and not latest.task.done():
            return False
        known = latest.until if latest else utterance.speech_start
        return utterance.speech_end - known >= self._interim_seconds * SAMPLE_RATE

    def _decode(
        self,
        utterance: Utterance,
        options: TranscriptionOptions,
        committed_prefix: CommittedPrefix,
        prefix: str,
        changed: asyncio.Event,
    ) -> _Decoding:
        """Start to decode the utterance after the committed prefix."""
        sound = utterance.sound(self._padding)[committed_prefix.end :]
        if not utterance.pauses:  # word times of an interim result tell where to trim
            options = replace(options, word_times=self._trims and len(sound) >= REST_SECONDS * SAMPLE_RATE)
        window = Window(sound, options, prefix=prefix, interim=not utterance.pauses)
        retry_seconds = self._overload_seconds if utterance.ended else 0.0
        task = asyncio.create_task(self._submit(window, retry_seconds))
        task.add_done_callback(lambda _: changed.set())
        return _Decoding(window, task, utterance.speech_end, utterance.pauses)

    async def _submit(self, window: Window, retry_seconds: float) -> WindowResult | None:
        """The result of a window; None where it is rejected or fails and is not to be retried."""
        end = monotonic() + retry_seconds
        while True:
            try:
                outcome = await self._scheduler.submit(window, self._scheduler.model.cost(window))
                if isinstance(outcome, WindowResult):
                    return outcome
                window, end, pause = outcome, monotonic() + retry_seconds, 0.0
            except ServeError as error:
                if not retry_seconds:
                    return None
                pause = max(error.retry_after or 0.0, RETRY_SECONDS)
                if not isinstance(error, Overloaded) or monotonic() + pause > end:
                    raise
            await asyncio.sleep(pause)


def _text(result: WindowResult) -> str:
    return join(segment.text for segment in result.segments)
