"""The HPA's law, against tables worked out from Kubernetes 1.36's replica calculator and controller."""

from math import ceil

import pytest

from surge.policy.scaling import demand_behavior, ratio_behavior
from surge.policy.timescale import TimeScale
from surge.twin.hpa import AT_ONCE, Autoscaler, Reading, Trigger, hpa_wanted, largest_wanted

RATIO, SUM = Trigger("Value", 0.7), Trigger("AverageValue", 1.0)


@pytest.mark.parametrize(("busy", "pods", "wanted"), [(50, 50, 72), (35, 50, 50), (5, 50, 8), (50, 100, 72)])
def test_value_multiplies_the_ready_pods(busy, pods, wanted):
    assert hpa_wanted(busy / pods, RATIO, replicas=pods, ready=pods) == wanted


def test_a_ratio_as_average_value_asks_for_two_pods_at_full_saturation():
    assert hpa_wanted(1.0, Trigger("AverageValue", 0.7), replicas=50, ready=50) == 2


def test_the_busy_workers_as_average_value_ask_for_what_value_asks_for():
    assert hpa_wanted(50, Trigger("AverageValue", 0.7), replicas=50, ready=50) == 72


def test_pods_that_are_ready_before_they_consume_make_it_grow_without_end():
    sizes = [10]
    for _ in range(3):
        sizes.append(hpa_wanted(1.0, RATIO, replicas=sizes[-1], ready=sizes[-1]))
    assert sizes == [10, 15, 22, 32]


def test_draining_pods_that_are_still_ready_ask_for_48_instead_of_29():
    assert hpa_wanted(20 / 12, RATIO, replicas=20, ready=20) == 48
    assert ceil(20 / 0.7) == 29


def test_value_without_a_ready_pod_asks_for_none_and_average_value_does_not_care():
    assert hpa_wanted(1.0, RATIO, replicas=5, ready=0) == 0
    assert hpa_wanted(9.0, SUM, replicas=5, ready=0) == 9


@pytest.mark.parametrize(
    ("metric", "wanted"), [(90.0, 100), (89.9, 90), (100.0, 100), (110.0, 100), (110.1, 111)]
)
def test_within_a_tenth_nothing_changes(metric, wanted):
    assert hpa_wanted(metric, SUM, replicas=100, ready=100) == wanted


def test_tolerances_of_the_behaviour_count_one_by_one():
    assert hpa_wanted(104, SUM, replicas=100, ready=100, tolerance_up=0.03) == 104
    assert hpa_wanted(96, SUM, replicas=100, ready=100, tolerance_up=0.03) == 100


@pytest.mark.parametrize(
    ("pods", "first_busy"), [(1, 1), (2, 2), (3, 3), (4, 4), (5, 4), (7, 6), (10, 8), (20, 16)]
)
def test_the_first_scale_out_of_a_small_fleet(pods, first_busy):
    asked = [hpa_wanted(busy / pods, RATIO, replicas=pods, ready=pods) for busy in range(pods + 1)]
    assert next(busy for busy, wanted in enumerate(asked) if wanted > pods) == first_busy


@pytest.mark.parametrize(("pods", "busy"), [(3, 1), (4, 2), (7, 4)])
def test_the_first_scale_in_of_a_small_fleet(pods, busy):
    assert hpa_wanted(busy / pods, RATIO, replicas=pods, ready=pods) < pods
    assert hpa_wanted((busy + 1) / pods, RATIO, replicas=pods, ready=pods) >= pods


def test_metrics_travel_in_thousandths_rounded_up():
    assert hpa_wanted(2.0001, SUM, replicas=1, ready=1) == 3
    assert hpa_wanted(0.5, SUM, replicas=0, ready=0) == 1


@pytest.mark.parametrize(
    ("busy", "backlog", "wanted"),
    [(0.5, 90, 12), (0.9, 30, 13), (None, 90, 12), (None, 30, None), (0.5, None, None), (None, None, None)],
)
def test_the_larger_of_two_metrics_counts_and_one_that_is_missing_forbids_a_scale_in(busy, backlog, wanted):
    readings = [Reading(busy, RATIO), Reading(backlog, Trigger("AverageValue", 7.5))]
    assert largest_wanted(readings, replicas=10, ready=10) == wanted


def follow(autoscaler: Autoscaler, metrics, replicas: int, every_s: float = 15.0) -> list[int]:
    sizes = []
    for turn, metric in enumerate(metrics):
        readings = [Reading(metric, SUM)]
        replicas = autoscaler.sync(turn * every_s, readings, replicas=replicas, ready=replicas)
        sizes.append(replicas)
    return sizes


def test_the_default_behaviour_doubles_or_adds_four_a_period():
    behavior = ratio_behavior(TimeScale(1))
    assert follow(Autoscaler(behavior, 1, 1000), [1000] * 4, 1) == [5, 10, 20, 40]


def test_the_default_behaviour_scales_in_after_300_seconds_at_once():
    sizes = follow(Autoscaler(ratio_behavior(TimeScale(1)), 1, 1000), [50] * 2 + [10] * 24, 50)
    assert sizes == [50] * 21 + [10] * 5


def test_demand_grows_tenfold_and_shrinks_a_tenth_a_period_after_its_window():
    behavior = demand_behavior(TimeScale(1))
    assert follow(Autoscaler(behavior, 1, 10_000), [5000] * 3, 10) == [100, 1000, 5000]
    window = behavior["scaleDown"]["stabilizationWindowSeconds"] // 15
    sizes = follow(Autoscaler(behavior, 1, 1000), [50] * (window + 3), 100)
    assert sizes == [100] * window + [90, 81, 72]


def test_one_high_recommendation_holds_the_fleet_for_a_window():
    behavior = ratio_behavior(TimeScale(1))
    sizes = follow(Autoscaler(behavior, 1, 1000), [10] * 25 + [20] + [10] * 20, 10)
    assert sizes == [10] * 25 + [20] * 20 + [10]


def test_a_controller_that_has_just_started_scales_in_after_a_window_only():
    behavior = ratio_behavior(TimeScale(1))
    assert follow(Autoscaler(behavior, 1, 1000), [10], 50) == [50]


def test_the_bounds_of_the_filter_hold():
    assert follow(Autoscaler(AT_ONCE, 3, 20), [100, 0], 10) == [20, 3]


@pytest.mark.parametrize(("replicas", "after"), [(0, 0), (2, 3), (30, 20)])
def test_the_bounds_come_before_any_metric_and_none_stay_none(replicas, after):
    assert follow(Autoscaler(ratio_behavior(TimeScale(1)), 3, 20), [None], replicas) == [after]


def test_changes_of_the_last_period_use_up_the_policy():
    autoscaler = Autoscaler(ratio_behavior(TimeScale(1)), 1, 1000)
    assert follow(autoscaler, [1000] * 4, 10, every_s=5) == [20, 20, 20, 40]
