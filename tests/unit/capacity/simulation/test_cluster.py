"""Replays against what queueing theory, or arithmetic, says of them."""

import numpy as np
import pytest

from capacity.curve import Curve
from capacity.simulation.cluster import Environment, replay
from capacity.simulation.comparison import Case
from capacity.simulation.hpa import DEFAULT_UP, Behavior, Policy, ScalingRules
from capacity.simulation.outcome import RequestOutcome
from capacity.simulation.scaling import Scaler
from capacity.simulation.traces import LoadTrace

ONE = Curve(
    service="vision", call="a call", kind="slots", engines=1, seconds=((1, 0.5),), spread=0.0, deadline_seconds=30.0,
    queue=20.0, schedule_seconds=5.0, weights_seconds=5.0, load_seconds=10.0, cpu_cores=1.0,
    cpu_per_engine_second=1.0, cpu_per_call=0.0, source="assumption: a test",
)  # fmt: skip
BATCH = ONE.model_copy(update={"kind": "batch", "batch": 16, "seconds": ((1, 0.2), (16, 0.8)), "queue": 200.0})
SLOTS = ONE.model_copy(update={"engines": 8, "seconds": ((1, 2.0), (8, 4.0)), "queue": 16.0})
QUICK_DOWN = ScalingRules(60.0, (Policy("Percent", 100, 15.0),))


def fixed(pods: int) -> Scaler:
    return Scaler("fixed", 1.0, Behavior(pods, pods))


def load(*parts: tuple[int, float]) -> LoadTrace:
    return LoadTrace("a test", np.concatenate([np.full(seconds, rate) for seconds, rate in parts]))


def test_one_server_waits_as_the_theory_of_queues_says():
    # M/D/1: the mean wait is rho / (2 (1 - rho)) services: 0.58 s at 0.7.
    outcome = replay(load((20_000, 1.4)), ONE, fixed(1), 1)
    assert outcome.failed < 0.001
    assert np.nanmean(outcome.latencies) == pytest.approx(0.5 + 0.5 * 0.7 / (2 * 0.3), rel=0.05)


@pytest.mark.parametrize("curve", [ONE, BATCH, SLOTS], ids=["one", "batch", "slots"])
def test_at_twice_the_load_a_pod_answers_what_it_can_and_refuses_the_rest_at_once(curve):
    outcome = replay(load((600, 2 * curve.rate)), curve, fixed(1), 1)
    assert outcome.share(RequestOutcome.ANSWERED) == pytest.approx(0.5, abs=0.03)
    assert outcome.share(RequestOutcome.REJECTED) == pytest.approx(0.5, abs=0.03)
    assert outcome.latency(0.95) < curve.deadline_seconds


def test_the_same_seed_gives_the_same_replay():
    scaler = Scaler("offered-load", 0.7, Behavior(1, 20))
    first, again = (replay(load((600, 4.0)), ONE, scaler, 5) for _ in range(2))
    assert np.array_equal(first.latencies, again.latencies, equal_nan=True)
    assert list(first.snapshots) == list(again.snapshots)


def test_demand_finds_the_pods_that_a_steady_load_needs():
    outcome = replay(load((2400, 6.5)), ONE, Scaler("offered-load", 0.7, Behavior(1, 50)), 1)
    assert {moment.pods for moment in outcome.snapshots[40:]} <= {4, 5, 6}  # 6.5 * 0.5 / 0.7 = 4.6


def test_half_empty_runs_do_not_ask_for_more_pods():
    # Two full pods' load: at a price of half-empty runs this took eight.
    outcome = replay(load((1500, 2 * BATCH.rate)), BATCH, Scaler("offered-load", 0.7, Behavior(1, 50)), 1)
    assert outcome.failed < 0.01
    assert 3 <= outcome.snapshots[-1].pods <= 5


def test_refused_work_asks_for_pods_and_the_share_of_time_that_engines_run_cannot():
    crowd = load((300, 1.0), (600, 16.0))
    pods = {}
    for metric in ("offered-load", "busy"):
        outcome = replay(crowd, ONE, Scaler(metric, 0.7, Behavior(1, 50)), 1)
        first = next(moment.seconds for moment in outcome.snapshots if moment.ready >= 8)
        pods[metric] = first
    assert pods["offered-load"] < pods["busy"]


def test_a_pod_answers_after_its_start_and_no_sooner():
    outcome = replay(load((120, 0.5), (400, 6.0)), ONE, Scaler("offered-load", 0.7, Behavior(1, 50)), 1)
    grown = next(moment.seconds for moment in outcome.snapshots if moment.pods > 1)
    ready = next(moment.seconds for moment in outcome.snapshots if moment.ready > 1)
    assert grown > 120 + 15
    assert 15 <= ready - grown <= 45  # 20 s of start, seen every 15 s


def test_pods_go_when_the_load_has_gone_and_finish_what_they_have():
    outcome = replay(
        load((600, 8.0), (900, 0.5)), ONE, Scaler("offered-load", 0.7, Behavior(1, 50, DEFAULT_UP, QUICK_DOWN)), 1
    )
    assert max(moment.pods for moment in outcome.snapshots) >= 6
    assert outcome.snapshots[-1].pods == 1
    assert outcome.count(RequestOutcome.LATE) == 0
    assert outcome.pod_hours < 600 * 8 / 3600 + 900 * 2 / 3600


def test_old_connections_keep_gateways_from_new_pods():
    crowd = load((300, 1.0), (600, 10.0))
    scaler = Scaler("offered-load", 0.7, Behavior(1, 50))
    young, old = (replay(crowd, ONE, scaler, 1, Environment(connection_seconds=age)) for age in (30, 600))
    assert young.failed < old.failed


def test_cpu_does_not_see_work_that_needs_no_cpu():
    idle = ONE.model_copy(update={"cpu_per_engine_second": 0.1})
    outcome = replay(load((60, 0.5), (900, 8.0)), idle, Scaler("cpu", 0.7, Behavior(1, 50)), 1)
    assert outcome.snapshots[-1].pods == 1
    assert outcome.failed > 0.7


def test_the_perfect_size_is_the_smallest_that_leaves_no_call_unanswered():
    case = Case(load((600, 5.0)), ONE, Behavior())
    pods, outcome = case.perfect()
    assert outcome.failed <= 0.01
    assert replay(case.trace, ONE, fixed(pods - 1), case.seed).failed > 0.01


@pytest.mark.parametrize("curve", [BATCH, SLOTS], ids=["batch", "slots"])
def test_a_scaled_simulation_agrees_with_the_exact_one(curve):
    exact = replay(load((600, 1.5 * curve.rate)), curve, fixed(2), 1)
    scaled = replay(load((600, 1.5 * curve.rate / 2)), curve.grouped(2), fixed(2), 1)
    bundled = replay(load((600, 1.5 * curve.rate / 4)), curve.grouped(2).bundled(2), fixed(2), 1)
    assert curve.grouped(2).bundled(2).rate * 4 == pytest.approx(curve.rate)
    for rough in (scaled, bundled):
        assert rough.failed == pytest.approx(exact.failed, abs=0.03)
