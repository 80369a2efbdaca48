"""A long utterance is heard piece by piece, and written down whole."""

import asyncio
from contextlib import aclosing

import numpy as np
import pytest

from services.speech.audio import SAMPLE_RATE
from services.speech.live.endpointing import Utterance
from services.speech.live.incremental_decoder import FinalResult, IncrementalDecoder, InterimResult
from services.speech.transcription import RecognizedWord, Segment, TranscriptionOptions, WindowResult
from services.speech.voice_activity import STEP

HALF = SAMPLE_RATE // 2


def counting(seconds):
    """Half a second for each word, every one louder than the one before it and behind a moment of quiet."""
    words = [np.repeat([0.0, 0.1 + 0.02 * number], [1024, HALF - 1024]) for number in range(int(seconds * 2))]
    return np.concatenate(words).astype(np.float32)


class Counter:
    """A scheduler that hears `counting`, and nothing in some of its runs."""

    wait_seconds = 0.0

    def __init__(self, deaf=lambda window: False):
        self.model = self
        self.windows = []
        self._deaf = deaf

    def cost(self, window):
        return window.seconds

    async def submit(self, window, cost):
        self.windows.append(window)
        numbers = np.round((np.abs(window.samples) - 0.1) / 0.02).astype(int)
        found = [number for number in range(max(numbers) + 1) if np.count_nonzero(numbers == number) > HALF // 4]
        if not found or self._deaf(window):
            return WindowResult("en", 1.0, ())
        places = [np.flatnonzero(numbers == number) / SAMPLE_RATE for number in found]
        words = [RecognizedWord(at[0], at[-1], f"w{number}", 0.9) for number, at in zip(found, places, strict=True)]
        text = " ".join(word.text for word in words)
        times = tuple(words) if window.options.word_times else ()
        return WindowResult("en", 1.0, (Segment(words[0].start, words[-1].end, text, -0.1, 0.0, words=times),))


async def decode(scheduler, seconds, **options):
    """The interim results of a recording of `counting`, and the final one."""
    decoder = IncrementalDecoder(
        scheduler, TranscriptionOptions(**options), padding=0.3, interim_seconds=0.8, overload_seconds=1
    )
    utterance, changed, sound = Utterance(0, 0, 0, 0, 0.0), asyncio.Event(), counting(seconds)

    async def speak():
        for begin in range(0, len(sound) - STEP, STEP):
            utterance.steps.append(sound[begin : begin + STEP])
            utterance.speech_end = utterance.end
            changed.set()
            for _ in range(8):
                await asyncio.sleep(0)
        utterance.ended = True
        changed.set()

    speaking = asyncio.create_task(speak())
    async with asyncio.timeout(20), aclosing(decoder.decode(utterance, changed)) as events:
        reported = [event async for event in events]
    await speaking
    return reported[:-1], reported[-1]


WORDS = [f"w{number}" for number in range(24)]


async def test_committed_text_is_not_decoded_again():
    scheduler = Counter()
    partials, final = await decode(scheduler, 12)
    assert isinstance(final, FinalResult)
    assert final.text.split() == WORDS
    assert max(window.seconds for window in scheduler.windows) < 5.5
    assert all(not window.options.word_times for window in scheduler.windows if not window.interim)
    committed = ""
    for partial in partials:
        assert isinstance(partial, InterimResult)
        assert partial.committed.startswith(committed)
        assert WORDS[: len(partial.committed.split())] == partial.committed.split()
        committed = partial.committed
    segments = final.result.segments
    assert " ".join(segment.text for segment in segments) == final.text
    assert len(segments) > 2
    assert [segment.start for segment in segments] == sorted(segment.start for segment in segments)
    assert segments[-1].end == pytest.approx(12, abs=0.1)
    assert not any(segment.words for segment in segments)


async def test_with_word_times_the_whole_utterance_is_decoded_at_the_end():
    scheduler = Counter()
    _, final = await decode(scheduler, 8, word_times=True)
    assert [word.text for segment in final.result.segments for word in segment.words] == WORDS[:16]
    assert scheduler.windows[-1].seconds > 7.9


async def test_a_rest_without_text_is_decoded_again_with_the_whole_utterance():
    scheduler = Counter(deaf=lambda window: not window.interim and window.seconds < 7)
    _, final = await decode(scheduler, 8)
    *_, rest, whole = scheduler.windows
    assert rest.seconds < 7
    assert whole.seconds > 7.9
    assert final.text.split() == WORDS[:16]
    assert final.result.segments[-1].end == pytest.approx(8, abs=0.1)
