"""The batch of an engine that works in steps: its room, and who takes part in the next step."""

from concurrent.futures import Future
from types import SimpleNamespace

import pytest

from servekit.scheduling.continuous_batch import BatchMember, ContinuousBatch


@pytest.fixture
def batch():
    return ContinuousBatch(4)


def member(name, key="a", cost=1.0):
    return BatchMember(SimpleNamespace(batch_cost=cost), 0.0, 0.0, state=name, key=key)


def names(members):
    return [member.state for member in members]


def test_room_is_what_beginning_and_stepped_members_leave(batch):
    assert (batch.empty, batch.room) == (True, 4)
    done = Future()
    batch.begin(member("a", cost=1.5), done)
    assert (batch.empty, batch.room) == (False, 2.5)
    batch.members.append(batch.beginning.pop(done))
    assert (batch.empty, batch.room) == (False, 2.5)
    batch.finishing[Future()] = batch.members.pop()
    assert (batch.empty, batch.room) == (True, 4)


def test_a_step_is_taken_by_those_of_one_key_and_keys_alternate(batch):
    batch.members = [member("a1"), member("b1", "b"), member("a2"), member("b2", "b")]
    assert [names(batch.next()) for _ in range(4)] == [["a1", "a2"], ["b1", "b2"]] * 2


def test_after_out_of_memory_half_as_many_are_stepped_and_nobody_joins_until_it_is_empty(batch):
    batch.members = [member(n) for n in range(4)]
    batch.halve(batch.next())
    assert [names(batch.next()) for _ in range(3)] == [[0, 1], [2, 3], [0, 1]]
    assert batch.room < 0
    batch.halve(batch.members[:2])
    assert [names(batch.next()) for _ in range(3)] == [[2], [3], [0]]
    batch.members.clear()
    batch.begin(member("new"), Future())
    assert batch.room == 3


def test_a_member_that_costs_more_than_the_batch_is_stepped_alone(batch):
    batch.members = [member("huge", cost=9.0), member("small")]
    assert [names(batch.next()) for _ in range(3)] == [["huge"], ["small"], ["huge"]]
