import numpy as np
import pytest

from servekit.scheduling.service_time import FullPrice


def batch(price: FullPrice, *costs: float, factor: float = 1.0) -> None:
    """Runs that have a price of their own, and one for what is in them."""
    for cost in costs:
        price.learn(1 / cost, factor * (0.010 + 0.002 * cost) / cost)


FULL = (0.010 + 0.002 * 16) / 16


def test_nothing_is_known_before_the_first_run():
    assert FullPrice(1 / 16).seconds_per_cost == 0


def test_runs_that_are_alike_tell_no_line():
    price = FullPrice(1 / 16)
    batch(price, *[2] * 10)
    assert price.seconds_per_cost == pytest.approx(0.014 / 2)


def test_half_empty_runs_tell_the_price_of_full_ones():
    price = FullPrice(1 / 16)
    batch(price, 1, 2, 1, 3, 1, 2)
    assert price.seconds_per_cost == pytest.approx(FULL)


def test_a_few_slots_tell_the_price_of_all():
    price = FullPrice(4)
    for beside in (1, 2, 1, 1.5):
        price.learn(beside, 0.2 + 0.3 * beside)
    assert price.seconds_per_cost == pytest.approx(0.2 + 0.3 * 4)


def test_slots_that_do_not_hold_one_another_up_have_one_price():
    price = FullPrice(4)
    for beside in (1, 2, 4):
        price.learn(beside, 0.5)
    assert price.seconds_per_cost == pytest.approx(0.5)


def test_full_runs_are_taken_as_they_are():
    price = FullPrice(1 / 16)
    batch(price, *[16] * 300)
    assert price.seconds_per_cost == pytest.approx(FULL)


def test_an_engine_that_has_become_slower_is_noticed():
    price = FullPrice(1 / 16)
    for factor in (1, 3):
        batch(price, *(1, 2, 4) * 100, factor=factor)
    assert price.seconds_per_cost == pytest.approx(3 * FULL, rel=0.02)


def test_chance_never_makes_it_free():
    random = np.random.default_rng(1)
    price = FullPrice(1 / 16)
    for cost in random.uniform(1, 8, 200):
        price.learn(1 / cost, random.uniform(0.001, 0.1))
        assert 0 < price.seconds_per_cost < 0.1


def test_small_runs_among_large_ones_do_not_shake_it():
    random = np.random.default_rng(1)
    price, told = FullPrice(1 / 16384), []
    for _ in range(1000):
        cost = random.uniform(4, 40) if random.random() < 0.7 else random.uniform(500, 16384)
        price.learn(1 / cost, (0.004 + 3.5e-6 * cost) * random.lognormal(0, 0.2) / cost)
        told.append(price.seconds_per_cost)
    assert min(told[200:]) / (0.004 / 16384 + 3.5e-6) > 0.7
    assert max(told[200:]) / (0.004 / 16384 + 3.5e-6) < 1.3
