"""Admission control: queue cost, deadline, reservations, all on numbers and a virtual clock."""

from math import inf

import pytest

from servekit.errors import Overloaded
from servekit.scheduling.admission import MIN_RETRY_SECONDS, Admission, Backlog, Reservation, ReservationCalibration
from servekit.scheduling.service_time import ServiceTimeModel

IDLE = Backlog(queued_items=0, queued_cost=0, started_items=0, started_cost=0, engines=1)


@pytest.fixture
def service_time():
    model = ServiceTimeModel.of_slots(1)
    model.observe(1, 0.1)  # a tenth of a second per cost
    return model


@pytest.fixture
def admission(service_time):
    return Admission("m", service_time, max_queue_cost=20, max_reservations=2)


def backlog(queued=0.0, started=0.0, engines=1):
    return Backlog(int(queued > 0), queued, int(started > 0), started, engines)


def admitted(admission, cost, before, remaining=inf, seconds_per_cost=0.1):
    try:
        admission.admit(cost, cost * seconds_per_cost, before, remaining)
    except Overloaded:
        return False
    return True


def test_a_queue_takes_items_up_to_its_cost(admission):
    assert admitted(admission, 5, backlog(queued=15, started=100))
    assert not admitted(admission, 5.1, backlog(queued=15))


def test_an_empty_queue_takes_an_item_of_any_cost(admission):
    assert admitted(admission, 1000, backlog(started=3))


def test_an_item_that_would_be_late_is_rejected_with_the_wait_as_delay(admission):
    before = backlog(queued=10, started=5)  # 1.5 s
    assert admitted(admission, 5, before, remaining=2.6)  # 2 s are 77 % of it
    with pytest.raises(Overloaded, match=r"^m cannot answer before the deadline$") as rejected:
        admission.admit(5, 0.5, before, 2.4)
    assert rejected.value.retry_after == pytest.approx(1.5)


def test_engines_share_the_wait(admission):
    assert admission.wait_seconds(backlog(queued=10, started=5, engines=3)) == pytest.approx(0.5)


def test_an_idle_engine_takes_even_what_may_be_late(admission):
    assert admitted(admission, 100, IDLE, remaining=0.01)


def test_a_full_queue_says_so_and_when_to_retry(admission):
    with pytest.raises(Overloaded, match=r"^the queue of m is full \(20\)$") as rejected:
        admission.admit(20, 2, backlog(queued=10), inf)
    assert rejected.value.retry_after == pytest.approx(1.0)
    unknown = Admission("m", ServiceTimeModel.of_slots(1), max_queue_cost=1)
    with pytest.raises(Overloaded) as rejected:
        unknown.admit(1, 0, backlog(queued=1), inf)
    assert rejected.value.retry_after == MIN_RETRY_SECONDS


def test_reserved_cost_takes_room_and_time_until_it_is_spent(admission):
    with admission.reserve(Reservation(18)) as reservation:
        assert admission.reserved_cost() == 18
        assert admission.reserved_cost(3) == 3  # fairness: no reservation is served more before it
        assert not admitted(admission, 11, IDLE)
        assert not admitted(admission, 5, IDLE, remaining=1.2)  # half a second of it, and its own
        reservation.spent = 17
        assert admission.reserved_cost() == 1
        reservation.spent = 30
        assert admission.reserved_cost() == 0
        assert admitted(admission, 11, IDLE)
    assert admission.reserved_cost() == 0


def test_the_number_of_reservations_is_bounded(admission):
    with admission.reserve(Reservation(1)), admission.reserve(Reservation(1)):
        with pytest.raises(Overloaded, match=r"^m has too many sessions \(2\)$") as rejected:
            admission.admit_reservation(1, 0.1, IDLE, inf)
        assert rejected.value.retry_after
    admission.admit_reservation(1, 0.1, IDLE, inf)


def test_calibration_is_the_share_of_reservations_that_is_used():
    calibration = ReservationCalibration()
    assert calibration.used_share == 1
    calibration.observe(16, 8)
    assert calibration.used_share == 0.5
    for _ in range(300):
        calibration.observe(16, 4)
    assert calibration.used_share == pytest.approx(0.25, abs=0.01)


@pytest.mark.parametrize("load", [0.5, 0.9, 2.0, 10.0])
def test_on_a_virtual_clock_no_admitted_call_is_late_at_any_load(load):
    """One slot, calls of 1 s each with 5 s to live, arriving at so many times its capacity."""
    service_time = ServiceTimeModel.of_slots(1)
    service_time.observe(1, 1.0)
    admission = Admission("m", service_time, max_queue_cost=100)
    now = free_at = 0.0  # virtual seconds: the time, and when the slot has done what was admitted
    served = 0
    for _ in range(500):
        now += 1 / load
        left = max(0.0, free_at - now)
        if admitted(admission, 1, Backlog(int(left), int(left), int(left > 0), left % 1, 1), 5.0, seconds_per_cost=1):
            free_at = max(free_at, now) + 1.0
            served += 1
            assert free_at <= now + 5.0
    assert served / now == pytest.approx(min(load, 1.0), rel=0.1)  # and the slot is as busy as it can be
    assert (served < 500) == (load > 1)
