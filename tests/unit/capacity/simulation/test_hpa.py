"""Cases of https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/, by its sections."""

import pytest

from capacity.simulation.hpa import Behavior, History, MetricReading, Policy, ScalingRules, recommend, scale

NOW = 1000.0
AT_ONCE = ScalingRules(0.0, (Policy("Percent", 100, 15.0),))
FREE = Behavior(1, 1000, ScalingRules(0.0, (Policy("Pods", 1000, 15.0),)), AT_ONCE)


# "Algorithm details": desired = ceil(current * metric / target).


@pytest.mark.parametrize(
    ("values", "target", "wanted"),
    [
        ([200.0], 100.0, 2),  # 200m against 100m: doubled
        ([50.0, 50.0], 100.0, 1),  # 50m: halved
        ([0.7] * 10, 0.4, 18),  # 17.5, rounded up
        ([1.4] * 5, 0.7, 10),  # exactly 10, though 5 * 1.4 / 0.7 is a little more in binary
    ],
)
def test_the_ratio_is_rounded_up(values, target, wanted):
    assert recommend(MetricReading(values), len(values), target) == wanted


@pytest.mark.parametrize(("value", "wanted"), [(1.1, 10), (0.9, 10), (1.12, 12), (0.88, 9)])
def test_nothing_happens_within_the_tolerance(value, wanted):
    assert recommend(MetricReading([value] * 10), 10, 1.0) == wanted


def test_no_value_at_all_changes_nothing():
    assert recommend(MetricReading([], unready=3, missing=2), 5, 1.0) == 5


def test_pods_that_are_not_ready_count_as_idle_when_more_are_wanted():
    # 4 pods at 2.0 would want 8; with 2 that start at 0: 8 / 6 = 1.33 of 6 pods
    assert recommend(MetricReading([2.0] * 4, unready=2), 6, 1.0) == 8
    assert recommend(MetricReading([2.0] * 4, unready=4), 8, 1.0) == 8  # damped to 1.0: they will do


def test_pods_that_are_not_ready_are_set_aside_when_fewer_are_wanted():
    assert recommend(MetricReading([0.5] * 4, unready=2), 6, 1.0) == 2


def test_missing_metrics_count_as_target_when_fewer_and_as_idle_when_more_are_wanted():
    assert recommend(MetricReading([0.5] * 4, missing=4), 8, 1.0) == 6  # (2 + 4) / 8 = 0.75
    assert recommend(MetricReading([3.0] * 4, missing=4), 8, 1.0) == 12  # 12 / 8 = 1.5


def test_the_reservations_never_turn_the_direction():
    assert recommend(MetricReading([1.5] * 2, missing=4), 6, 1.0) == 6  # 3 / 6 would want fewer
    assert recommend(MetricReading([1.5] * 2, unready=4), 6, 1.0) == 6


def test_more_pods_missing_than_counted_never_scale_the_wrong_way():
    # (0.2 + 9) / 10 = 0.92 is within the tolerance
    assert recommend(MetricReading([0.2], missing=9), 10, 1.0) == 10


# "Scaling policies".


def test_ten_percent_down_or_four_pods_whichever_is_more():
    # The page's example: from 80, 10 % is 8 pods; below 40, four pods are more.
    rules = ScalingRules(0.0, (Policy("Pods", 4, 60.0), Policy("Percent", 10, 60.0)))
    behavior = Behavior(1, 100, AT_ONCE, rules)
    current, now, history, seen = 80, 0.0, History(), []
    for _ in range(14):
        current, history = scale(10, current, now, behavior, history)
        seen.append(current)
        now += 60.0
    assert seen == [72, 64, 57, 51, 45, 40, 36, 32, 28, 24, 20, 16, 12, 10]


def test_the_policy_that_changes_least_by_select_min():
    rules = ScalingRules(0.0, (Policy("Pods", 5, 60.0), Policy("Percent", 10, 60.0)), "Min")
    assert scale(1, 80, NOW, Behavior(1, 100, AT_ONCE, rules), History())[0] == 75
    assert scale(1, 20, NOW, Behavior(1, 100, AT_ONCE, rules), History())[0] == 18


def test_disabled_never_scales_that_way():
    behavior = Behavior(1, 100, FREE.up, ScalingRules(0.0, AT_ONCE.policies, "Disabled"))
    assert scale(1, 50, NOW, behavior, History())[0] == 50
    assert scale(60, 50, NOW, behavior, History())[0] == 60


def test_a_policy_counts_what_has_changed_within_its_period():
    behavior = Behavior(1, 1000, ScalingRules(0.0, (Policy("Pods", 4, 60.0),)), AT_ONCE)
    current, history, seen = 10, History(), []
    for step in range(9):
        current, history = scale(100, current, 15.0 * step, behavior, history)
        seen.append(current)
    assert seen == [14, 14, 14, 14, 18, 18, 18, 18, 22]


def test_by_default_replicas_double_or_gain_four_in_15_seconds():
    current, history, seen = 1, History(), []
    for step in range(5):
        current, history = scale(500, current, 15.0 * step, Behavior(1, 1000), history)
        seen.append(current)
    assert seen == [5, 10, 20, 40, 80]


def test_least_and_most_hold():
    assert scale(50, 10, NOW, Behavior(2, 20, FREE.up, AT_ONCE), History())[0] == 20
    assert scale(1, 10, NOW, Behavior(2, 20, FREE.up, AT_ONCE), History())[0] == 2


# "Stabilization window".


def test_the_highest_recommendation_of_the_window_holds_back_a_scale_down():
    behavior = Behavior(1, 100, AT_ONCE, ScalingRules(300.0, AT_ONCE.policies))
    current, history, seen = 10, History(), []
    for step, recommended in enumerate([10] + [4] * 25):
        current, history = scale(recommended, current, 15.0 * step, behavior, history)
        seen.append(current)
    assert seen[:20] == [10] * 20  # the recommendation of 10 at 0 s is remembered for 300 s
    assert seen[20:] == [4] * 6


def test_the_lowest_recommendation_of_the_window_holds_back_a_scale_up():
    behavior = Behavior(1, 100, ScalingRules(60.0, FREE.up.policies), AT_ONCE)
    current, history, seen = 5, History(), []
    for step, recommended in enumerate([5, 20, 20, 12, 20, 20]):
        current, history = scale(recommended, current, 15.0 * step, behavior, history)
        seen.append(current)
    assert seen == [5, 5, 5, 5, 12, 12]


def test_a_dip_does_not_take_back_what_the_window_remembers():
    behavior = Behavior(1, 100, FREE.up, ScalingRules(300.0, AT_ONCE.policies))
    current, history = scale(20, 5, 0.0, behavior, History())
    current, history = scale(6, current, 15.0, behavior, history)
    assert current == 20


def test_the_first_look_remembers_the_replicas_that_there_are():
    # recordInitialRecommendation: the windows are never empty, so that a new HPA does not throw pods away at once
    behavior = Behavior(1, 100, ScalingRules(60.0, FREE.up.policies), ScalingRules(300.0, AT_ONCE.policies))
    current, history, seen = 10, History(), []
    for step in range(22):
        current, history = scale(1, current, NOW + 15.0 * step, behavior, history)
        seen.append(current)
    assert seen == [10] * 20 + [1] * 2
    current, history, seen = 5, History(), []
    for step in range(6):
        current, history = scale(20, current, NOW + 15.0 * step, behavior, history)
        seen.append(current)
    assert seen == [5] * 4 + [20] * 2


def test_without_a_window_the_first_look_acts_at_once():
    assert scale(1, 10, NOW, FREE, History())[0] == 1
    assert scale(20, 10, NOW, FREE, History())[0] == 20


# "Implicit maintenance-mode deactivation".


def test_a_workload_of_no_replicas_is_left_alone():
    current, history = scale(5, 0, NOW, Behavior(1, 100), History())
    assert current == 0
    assert scale(5, 0, NOW + 15, Behavior(2, 100), history)[0] == 0


def test_a_workload_that_may_have_no_replicas_grows_from_none():
    assert scale(5, 0, NOW, Behavior(0, 100), History())[0] == 4  # the policy of 4 pods
