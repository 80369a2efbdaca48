import asyncio
from contextlib import aclosing

import pytest

from gateway.pipelines.channel import MAX_PENDING, EventChannel


async def test_events_of_several_tasks_arrive_in_order_of_sending():
    channel = EventChannel()

    async def work():
        async with asyncio.TaskGroup() as group:
            group.create_task(channel.send("a"))
            group.create_task(channel.send("b"))
        channel.send_nowait("c")

    assert [event async for event in channel.run(work())] == ["a", "b", "c"]


async def test_an_error_follows_the_events_before_it():
    channel, seen = EventChannel(), []

    async def work():
        await channel.send(1)
        raise ValueError("broken")

    async def read():
        async for event in channel.run(work()):
            seen.append(event)

    with pytest.raises(ValueError, match="broken"):
        await read()
    assert seen == [1]


async def test_a_slow_reader_stops_the_producer():
    channel, sent = EventChannel(), []

    async def work():
        for number in range(10 * MAX_PENDING):
            await channel.send(number)
            sent.append(number)

    async with aclosing(channel.run(work())) as events:
        assert await anext(events) == 0
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(sent) <= MAX_PENDING + 1
        assert [event async for event in events] == list(range(1, 10 * MAX_PENDING))


async def test_closing_the_reader_cancels_the_work():
    channel, ended = EventChannel(), asyncio.Event()

    async def work():
        try:
            await channel.send(1)
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with aclosing(channel.run(work())) as events:
        await anext(events)
    assert ended.is_set()
