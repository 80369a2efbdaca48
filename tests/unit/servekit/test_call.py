"""Flags are set by callers, parents and the clock."""

import asyncio
import time

import pytest

from servekit.call import DEFAULT_TENANT, Call, Flag, current, enter
from servekit.errors import Cancelled, DeadlineExceeded


def test_a_fresh_flag_says_nothing():
    flag = Flag()
    flag.check()
    assert not flag.is_set()
    assert flag.remaining() == float("inf")


def test_a_set_flag_sets_its_children_and_not_its_parent():
    parent = Flag()
    child = Flag(parent=parent)
    grandchild = Flag(parent=child)
    child.set()
    assert (parent.is_set(), child.is_set(), grandchild.is_set()) == (False, True, True)
    with pytest.raises(Cancelled):
        grandchild.check()


def test_the_earlier_deadline_counts():
    now = time.monotonic()
    assert Flag(now + 9, Flag(now + 3)).deadline == now + 3
    assert Flag(now + 3, Flag(now + 9)).deadline == now + 3


def test_a_passed_deadline_is_no_cancellation():
    flag = Flag(time.monotonic() - 1)
    assert flag.is_set()
    assert not flag.abandoned()
    assert flag.remaining() == 0
    with pytest.raises(DeadlineExceeded):
        flag.check()
    flag.set()
    with pytest.raises(Cancelled):
        flag.check()


async def test_a_call_is_current_in_its_task_and_those_that_it_starts():
    async def tenant():
        return current().tenant

    async def one(name):
        enter(Call(tenant=name))
        await asyncio.sleep(0)
        return await asyncio.create_task(tenant()), await asyncio.to_thread(lambda: current().tenant)

    assert await asyncio.gather(one("a"), one("b")) == [("a", "a"), ("b", "b")]
    assert current().tenant == DEFAULT_TENANT
