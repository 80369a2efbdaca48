"""Service time: recent seconds per cost, and the straight line to full load."""

import numpy as np
import pytest

from servekit.scheduling.service_time import ExponentialMovingAverage, ServiceTimeModel

FULL = (0.010 + 0.002 * 16) / 16


@pytest.fixture
def model():
    return ServiceTimeModel.of_batches(16)


@pytest.fixture
def slots():
    return ServiceTimeModel.of_slots(4)


def observe(model: ServiceTimeModel, *costs: float, factor: float = 1.0) -> None:
    """Runs that take a constant time, and a time per cost."""
    for cost in costs:
        model.observe(1 / cost, factor * (0.010 + 0.002 * cost) / cost)


def test_a_moving_average_starts_at_the_first_value_and_forgets():
    average = ExponentialMovingAverage()
    assert average.value == 0
    average.observe(10)
    assert average.value == 10
    average.observe(20)
    assert average.value == 12
    for _ in range(50):
        average.observe(20)
    assert average.value == pytest.approx(20, rel=0.01)


def test_before_the_first_run_everything_takes_no_time(model):
    assert (model.seconds_per_cost, model.full_seconds_per_cost, model.seconds(5), model.backlog_seconds(5)) == (
        (0,) * 4
    )


def test_runs_that_are_alike_give_no_slope(model):
    observe(model, *[2] * 10)
    assert model.full_seconds_per_cost == pytest.approx(0.014 / 2)


def test_half_empty_runs_predict_full_ones(model):
    observe(model, 1, 2, 1, 3, 1, 2)
    assert model.full_seconds_per_cost == pytest.approx(FULL)


def test_a_few_busy_slots_predict_all_of_them(slots):
    for busy in (1, 2, 1, 1.5):
        slots.observe(busy, 0.2 + 0.3 * busy)
    assert slots.full_seconds_per_cost == pytest.approx(0.2 + 0.3 * 4)


def test_independent_slots_take_as_long_at_any_load(slots):
    for busy in (1, 2, 4):
        slots.observe(busy, 0.5)
    assert slots.full_seconds_per_cost == pytest.approx(0.5)


def test_full_runs_are_taken_as_they_are(model):
    observe(model, *[16] * 300)
    assert model.full_seconds_per_cost == pytest.approx(FULL)


def test_an_engine_that_has_become_slower_is_noticed(model):
    for factor in (1, 3):
        observe(model, *(1, 2, 4) * 100, factor=factor)
    assert model.full_seconds_per_cost == pytest.approx(3 * FULL, rel=0.02)


def test_the_recent_time_follows_within_a_few_runs(model):
    observe(model, *[4] * 100)
    observe(model, *[4] * 10, factor=3)
    assert model.seconds_per_cost == pytest.approx(3 * 0.018 / 4, rel=0.1)
    assert model.seconds_per_run == pytest.approx(3 * 0.018, rel=0.1)


def test_noise_never_predicts_zero(model):
    random = np.random.default_rng(1)
    for cost in random.uniform(1, 8, 200):
        model.observe(1 / cost, random.uniform(0.001, 0.1))
        assert 0 < model.full_seconds_per_cost < 0.1


def test_small_runs_among_large_ones_do_not_shake_it():
    random = np.random.default_rng(1)
    model, predicted = ServiceTimeModel.of_batches(16384), []
    for _ in range(1000):
        cost = random.uniform(4, 40) if random.random() < 0.7 else random.uniform(500, 16384)
        model.observe(1 / cost, (0.004 + 3.5e-6 * cost) * random.lognormal(0, 0.2) / cost)
        predicted.append(model.full_seconds_per_cost)
    assert min(predicted[200:]) / (0.004 / 16384 + 3.5e-6) > 0.7
    assert max(predicted[200:]) / (0.004 / 16384 + 3.5e-6) < 1.3


def test_a_backlog_takes_as_many_runs_as_full_batches(model):
    for _ in range(20):
        model.observe(1 / 2, 0.05)  # 0.1 s, however full a run is
    assert model.seconds(16, runs=1) == pytest.approx(0.1)
    assert model.backlog_seconds(40) == pytest.approx(0.3)  # three batches of 16
    assert model.backlog_seconds(1) == pytest.approx(0.05)


def test_without_batches_a_backlog_takes_one_run_an_item():
    model = ServiceTimeModel.of_batches(0)
    model.observe(1 / 10, 0.1)
    assert model.full_seconds_per_cost == model.seconds_per_cost == 0.1
    assert model.backlog_seconds(100, items=2) == pytest.approx(2.0)
    assert model.backlog_seconds(5, items=2) == pytest.approx(0.5)


def test_slots_take_the_time_of_their_cost(slots):
    slots.observe(1, 0.5)
    assert slots.seconds(4, runs=1) == slots.backlog_seconds(4, items=1) == 2.0
    assert slots.seconds_per_run == 0
