"""Cancellation tokens: cancelled by callers, parents and the clock."""

import asyncio
import time

import pytest

from servekit.context import DEFAULT_TENANT, CancellationToken, RequestContext, current, enter
from servekit.errors import Cancelled, DeadlineExceeded


def test_a_fresh_token_is_not_cancelled():
    cancellation = CancellationToken()
    cancellation.raise_if_cancelled()
    assert not cancellation.cancelled
    assert cancellation.remaining_seconds() == float("inf")


def test_cancelling_reaches_children_and_not_parents():
    parent = CancellationToken()
    child = CancellationToken(parent=parent)
    grandchild = CancellationToken(parent=child)
    child.cancel()
    assert (parent.cancelled, child.cancelled, grandchild.cancelled) == (False, True, True)
    with pytest.raises(Cancelled):
        grandchild.raise_if_cancelled()


def test_the_earlier_deadline_counts():
    now = time.monotonic()
    assert CancellationToken(now + 9, CancellationToken(now + 3)).deadline == now + 3
    assert CancellationToken(now + 3, CancellationToken(now + 9)).deadline == now + 3


def test_a_passed_deadline_is_no_cancellation():
    cancellation = CancellationToken(time.monotonic() - 1)
    assert cancellation.cancelled
    assert not cancellation.disconnected
    assert cancellation.remaining_seconds() == 0
    with pytest.raises(DeadlineExceeded):
        cancellation.raise_if_cancelled()
    cancellation.cancel()
    with pytest.raises(Cancelled):
        cancellation.raise_if_cancelled()


async def test_a_call_is_current_in_its_task_and_those_that_it_starts():
    async def tenant():
        return current().tenant

    async def one(name):
        enter(RequestContext(tenant=name))
        await asyncio.sleep(0)
        return await asyncio.create_task(tenant()), await asyncio.to_thread(lambda: current().tenant)

    assert await asyncio.gather(one("a"), one("b")) == [("a", "a"), ("b", "b")]
    assert current().tenant == DEFAULT_TENANT
