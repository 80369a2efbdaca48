import numpy as np
import pytest

from servekit.price import FullPrice


def seconds(cost: float) -> float:
    return 0.010 + 0.002 * cost  # a run's own price, and that of what is in it


def test_nothing_is_known_before_the_first_run():
    assert FullPrice(16).seconds_per_cost == 0


def test_runs_that_are_alike_tell_no_line():
    price = FullPrice(16)
    for _ in range(10):
        price.learn(2, seconds(2))
    assert price.seconds_per_cost == pytest.approx(seconds(2) / 2)


def test_half_empty_runs_tell_the_price_of_full_ones():
    price = FullPrice(16)
    for cost in (1, 2, 1, 3, 1, 2):
        price.learn(cost, seconds(cost))
    assert price.seconds_per_cost == pytest.approx(seconds(16) / 16)


def test_full_runs_are_taken_as_they_are():
    price = FullPrice(16)
    for _ in range(300):
        price.learn(16, seconds(16))
    assert price.seconds_per_cost == pytest.approx(seconds(16) / 16)


def test_an_engine_that_has_become_slower_is_noticed():
    price = FullPrice(16)
    for factor in (1, 3):
        for cost in (1, 2, 4) * 100:
            price.learn(cost, factor * seconds(cost))
    assert price.seconds_per_cost == pytest.approx(3 * seconds(16) / 16, rel=0.02)


def test_chance_never_makes_it_dearer_than_the_runs_were_nor_free():
    random = np.random.default_rng(1)
    price = FullPrice(16)
    for cost in random.uniform(1, 8, 200):
        price.learn(cost, random.uniform(0.001, 0.1))
        assert 0 < price.seconds_per_cost < 0.1
