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
    assert budget.take("a", 30)
    assert not budget.take("a", 21)
    assert budget.take("a", 20)
    assert not budget.take("b", 51)
    assert budget.take("b", 50)
    budget.free("a", 50)
    budget.free("b", 50)
    assert budget.take("a", 80)
    assert not budget.take("a", 1)


def test_a_share_of_the_budget_leaves_room_for_others(budget, gauge):
    assert budget.take("a", 25, share=0.5)
    assert not budget.take("a", 1, share=0.5)
    assert budget.take("b", 25, share=0.5)
    assert not budget.take("c", 1, share=0.5)
    assert budget.take("c", 50)
    assert gauge.collect()[0].samples[0].value == 100


async def test_a_waiting_request_gets_bytes_that_are_freed(budget):
    budget.take("a", 90)
    waiting = asyncio.create_task(budget.wait("b", 40))
    await asyncio.sleep(0)
    budget.free("a", 20)
    await asyncio.sleep(0)
    assert not waiting.done()
    budget.free("a", 70)
    await waiting
    assert not budget.take("c", 61)
    assert budget.take("c", 60)


async def test_a_request_that_waits_too_long_is_refused(budget, monkeypatch):
    monkeypatch.setattr(module, "WAIT_SECONDS", 0.01)
    budget.take("a", 90)
    with pytest.raises(Overloaded) as refused:
        await budget.wait("b", 40)
    assert refused.value.retry_after == 1.0
