"""Live transcription beside others: a busy engine, a full queue, one that dies."""

import asyncio
import time

import pytest

from servekit.context import CancellationToken, RequestContext, enter
from servekit.errors import EngineCrashed, InvalidArgument, Overloaded

from .conftest import answers, audio, config, finals, kinds, requests


async def test_a_busy_scheduler_costs_partials_and_never_the_final(live, scheduler, mind):
    assert finals(await answers(live, config(final_only=True), audio((0.5, 1), (0, 1))))  # what a run takes is known
    mind.seconds = 2.0
    mind.began.clear()
    busy = asyncio.ensure_future(scheduler.submit(mind.windows[0], 30.0))
    assert await asyncio.to_thread(mind.began.wait, 10)
    mind.seconds = 0.0  # of the next
    before = len(mind.windows)
    events = await answers(live, config(), audio((0.5, 1.5), (0, 0.7)), pace=0.01)
    assert kinds(events) == ["started", "utterance_started", "final", "finished"]
    assert len(mind.windows) == before + 1
    await busy


async def test_a_full_queue_is_waited_for_and_not_for_ever(live, scheduler, mind, monkeypatch):
    submit, refusals = scheduler.submit, 2

    async def refuse(window, cost):
        nonlocal refusals
        if refusals:
            refusals -= 1
            raise Overloaded("full", retry_after=0.05)
        return await submit(window, cost)

    monkeypatch.setattr(scheduler, "submit", refuse)
    speech = audio((0.5, 1), (0, 1))
    assert len(finals(await answers(live, config(final_only=True), speech))) == 1
    refusals = 1000
    with pytest.raises(Overloaded):
        await answers(live, config(final_only=True), speech)


async def test_an_utterance_of_low_confidence_is_decoded_to_its_end(live, mind):
    mind.doubts = 2
    (final,) = finals(await answers(live, config(final_only=True), audio((0.5, 1), (0, 1))))
    assert final.segment.text
    assert [bool(window.state) for window in mind.windows] == [False, True, True]


async def test_an_engine_that_dies_ends_the_stream_only_if_the_last_words_need_it(live, mind):
    mind.errors = [InvalidArgument("odd")]
    events = await answers(live, config(), audio((0.5, 2), (0, 0.7)), pace=0.02)
    assert len(finals(events)) == 1
    mind.errors = [EngineCrashed("dead")] * 100
    with pytest.raises(EngineCrashed):
        await answers(live, config(final_only=True), audio((0.5, 1), (0, 1)))


async def test_a_caller_that_disconnects_cancels_the_running_decoding(live, mind, scheduler):
    mind.seconds = 5
    enter(RequestContext(cancellation=CancellationToken()))
    stream = live.transcribe(requests(config(), audio((0.5, 1), (0, 1)), pace=0.0))
    await anext(stream)
    await anext(stream)
    waiting = asyncio.ensure_future(anext(stream))
    await asyncio.to_thread(mind.began.wait, 5)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    began = time.monotonic()
    while scheduler.snapshot().runs:
        await asyncio.sleep(0.01)
        assert time.monotonic() < began + 4
