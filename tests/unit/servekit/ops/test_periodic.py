"""Work that is repeated in the background."""

import asyncio

from servekit.errors import Unavailable
from servekit.ops.periodic import repeat


async def test_work_is_repeated_after_any_error(caplog):
    runs, done = [], asyncio.Event()

    async def work():
        runs.append(len(runs))
        if len(runs) == 1:
            raise Unavailable("the database does not answer")
        if len(runs) == 2:
            raise ValueError("a bug")
        done.set()

    repeating = asyncio.create_task(repeat(work, 0.001, "not swept"))
    await asyncio.wait_for(done.wait(), 20)
    repeating.cancel()
    assert caplog.messages[:2] == ["not swept: the database does not answer", "not swept"]
    assert caplog.records[1].exc_info[0] is ValueError
