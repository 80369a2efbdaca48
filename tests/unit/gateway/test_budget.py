"""The bytes that requests may hold together."""

import asyncio

import pytest
from prometheus_client import Gauge

from gateway import budget as module
from gateway.budget import Budget
from servekit.errors import Overloaded


@pytest.fixture
def gauge():
    return Gauge("held", "Held.", registry=None)


@pytest.fixture
def budget(gauge):
    return Budget(100, gauge)


def test_one_tenant_may_hold_half_or_one_body_of_any_size(budget):
    assert budget.try_acquire("a", 30)
    assert not budget.try_acquire("a", 21)
    assert budget.try_acquire("a", 20)
    assert not budget.try_acquire("b", 51)
    assert budget.try_acquire("b", 50)
    budget.release("a", 50)
    budget.release("b", 50)
    assert budget.try_acquire("a", 80)
    assert not budget.try_acquire("a", 1)


def test_a_share_of_the_budget_leaves_room_for_others(budget, gauge):
    assert budget.try_acquire("a", 25, share=0.5)
    assert not budget.try_acquire("a", 1, share=0.5)
    assert budget.try_acquire("b", 25, share=0.5)
    assert not budget.try_acquire("c", 1, share=0.5)
    assert budget.try_acquire("c", 50)
    assert gauge.collect()[0].samples[0].value == 100


async def test_a_waiting_request_gets_bytes_that_are_freed(budget):
    budget.try_acquire("a", 90)
    waiting = asyncio.create_task(budget.acquire("b", 40))
    await asyncio.sleep(0)
    budget.release("a", 20)
    await asyncio.sleep(0)
    assert not waiting.done()
    budget.release("a", 70)
    await waiting
    assert not budget.try_acquire("c", 61)
    assert budget.try_acquire("c", 60)


async def test_a_request_that_waits_too_long_is_refused(budget, monkeypatch):
    monkeypatch.setattr(module, "WAIT_SECONDS", 0.01)
    budget.try_acquire("a", 90)
    with pytest.raises(Overloaded) as refused:
        await budget.acquire("b", 40)
    assert refused.value.retry_after == 1.0
