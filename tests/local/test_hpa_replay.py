"""The twin's HPA against the real one: the same samples at the same moments, the same replicas.

The real controller plays every series at once; the twin is then told what it read and when.
"""

from collections.abc import Iterator
from copy import deepcopy
from itertools import pairwise
from typing import Any, NamedTuple

import pytest
from kubernetes import config

from lab.control_plane import scratch_control_plane
from surge.policy.scaling import demand_behavior, ratio_behavior
from surge.policy.timescale import TimeScale
from surge.twin.hpa import AT_ONCE, Autoscaler, Reading, Trigger
from tests.local.hpa_recorder import Recorder, Series, Sync, serving

pytestmark = [pytest.mark.local, pytest.mark.quiet]

BASE_PORT = 23_330
# No multiple of it below six comes near a whole second: no sync meets the end of a window or a period.
SYNC_S = 0.8
STAMPED_S = 0.15
PATIENCE_S = 150.0

RATIO, SUM, BACKLOG = (
    Trigger("Value", 0.7),
    Trigger("AverageValue", 1.0),
    Trigger("AverageValue", 7.5),
)


def at_once(**changed: Any) -> dict[str, Any]:
    """Nothing is held back, and the tolerance is the controller's unless `changed` says otherwise."""
    free = {way: {key: value for key, value in AT_ONCE[way].items() if key != "tolerance"} for way in AT_ONCE}
    return {way: {**rules, **changed.get(way, {})} for way, rules in free.items()}


def policies(*rules: tuple[str, int, int], select: str = "Max") -> dict[str, Any]:
    each = [{"type": kind, "value": value, "periodSeconds": period} for kind, value, period in rules]
    return {"selectPolicy": select, "policies": each}


class Case(NamedTuple):
    """sizes: the replicas one after the other, as worked out by hand.

    The last size is one at which the series stays: a late sync moves no more than one in time.
    """

    series: Series
    sizes: list[int]


def one(trigger: Trigger, *metrics: float | None, **others: Any) -> Series:
    behavior = others.pop("behavior", at_once())
    return Series(triggers=[trigger], samples=[[metric] for metric in metrics], behavior=behavior, **others)


def two(busy: float | None, backlog: float | None) -> Series:
    return Series(
        triggers=[RATIO, BACKLOG], samples=[[busy, backlog]] * 2, behavior=at_once(), start=10, ready=10
    )


CASES = {
    "value-at-the-upper-edge": Case(one(RATIO, 0.77, ready=10), [10]),
    "value-above-the-upper-edge": Case(one(RATIO, 0.771, ready=10), [10, 12]),
    "value-at-the-lower-edge": Case(one(RATIO, 0.63, ready=10), [10]),
    "value-below-the-lower-edge": Case(one(RATIO, 0.629, ready=10), [10, 9]),
    "value-saturated": Case(one(RATIO, 1.0, ready=10), [10, 15]),
    "value-multiplies-ready-pods-only": Case(one(RATIO, 1.0, ready=6, unready=4), [10, 9]),
    "value-without-a-ready-pod": Case(one(RATIO, 1.0, start=5, unready=5), [5, 1]),
    "average-value": Case(one(SUM, 37, 4), [10, 37, 4]),
    "average-value-at-the-edges": Case(one(SUM, 11, 9, 10), [10]),
    "average-value-above-the-edge": Case(one(SUM, 11.001), [10, 12]),
    "average-value-below-the-edge": Case(one(SUM, 8.999, start=10), [10, 9]),
    "average-value-needs-no-ready-pod": Case(one(SUM, 20, unready=3), [10, 20]),
    "a-ratio-as-average-value": Case(one(Trigger("AverageValue", 0.7), 1.0, start=50), [50, 2]),
    "thousandths-are-rounded-up": Case(one(SUM, 20.0001), [10, 21]),
    "own-tolerance-up": Case(
        one(SUM, 10.3, 10.31, behavior=at_once(scaleUp={"tolerance": "0.03"})), [10, 11]
    ),
    "own-tolerance-down": Case(one(SUM, 9.6, 9.4, behavior=at_once(scaleDown={"tolerance": "0.05"})), [10]),
    "no-tolerance-down": Case(one(SUM, 9.9, 9.0, behavior=at_once(scaleDown={"tolerance": "0"})), [10, 9]),
    "the-larger-of-two": Case(two(0.5, 90), [10, 12]),
    "the-larger-of-two-that-are-low": Case(two(0.5, 30), [10, 8]),
    "one-unreadable-and-the-other-high": Case(two(None, 90), [10, 12]),
    "one-unreadable-and-the-other-low": Case(two(None, 30), [10]),
    "the-other-unreadable-and-the-one-low": Case(two(0.5, None), [10]),
    "none-readable": Case(one(SUM, 5, None, None, None, 20), [10, 5, 20]),
    "no-more-than-the-maximum": Case(one(SUM, 100, 100, maximum=20), [10, 20]),
    "no-fewer-than-the-minimum": Case(one(SUM, 0, 0, minimum=3), [10, 3]),
    "more-than-the-maximum-before": Case(one(SUM, 20, start=30, maximum=20), [20]),
    "fewer-than-the-minimum-before": Case(one(SUM, 3, start=2, minimum=3), [3]),
    "what-the-minimum-added-uses-up-the-policy": Case(
        one(SUM, 20, 20, start=2, minimum=10, behavior=at_once(scaleUp=policies(("Pods", 2, 60)))), [10]
    ),
    "doubles-or-adds-four": Case(
        one(SUM, *[20] * 7, start=1, behavior=ratio_behavior(TimeScale(7.5))), [1, 5, 10, 20]
    ),
    "the-smaller-of-two-policies": Case(
        one(
            SUM,
            *[16] * 5,
            behavior=at_once(scaleUp=policies(("Percent", 100, 2), ("Pods", 3, 2), select="Min")),
        ),
        [10, 13, 16],
    ),
    "percents-up-are-rounded-up": Case(
        one(SUM, *[9] * 6, start=5, behavior=at_once(scaleUp=policies(("Percent", 10, 1)))),
        [5, 6, 7, 8, 9],
    ),
    "two-periods": Case(
        one(
            SUM,
            *[17] * 9,
            behavior=at_once(scaleUp=policies(("Pods", 2, 1), ("Pods", 3, 3), select="Min")),
        ),
        [10, 12, 13, 15, 16],
    ),
    "percents-down-are-rounded-down": Case(
        one(SUM, *[5] * 8, start=45, behavior=at_once(scaleDown=policies(("Percent", 50, 2)))),
        [45, 22, 11, 5],
    ),
    "up-and-down-in-one-period": Case(
        one(
            SUM, 12, 1, 40,
            behavior=at_once(scaleUp=policies(("Pods", 4, 30)), scaleDown=policies(("Pods", 5, 30))),
        ),
        [10, 12, 5, 14],
    ),
    "one-high-sample-does-not-pass-the-up-window": Case(
        one(SUM, 10, 30, 10, 30, 20, *[30] * 5, behavior=at_once(scaleUp={"stabilizationWindowSeconds": 3})),
        [10, 20, 30],
    ),
    "one-high-sample-holds-the-down-window": Case(
        one(SUM, 10, 5, 5, 12, *[5] * 6, behavior=at_once(scaleDown={"stabilizationWindowSeconds": 3})),
        [10, 12, 5],
    ),
    "nobody-leaves-in-the-first-down-window": Case(
        one(SUM, *[5] * 6, behavior=at_once(scaleDown={"stabilizationWindowSeconds": 3})), [10, 5]
    ),
    "as-demand-is-told": Case(
        one(SUM, 60, 60, *[48] * 11, start=5, behavior=demand_behavior(TimeScale(30))), [5, 50, 60, 54, 48]
    ),
    "as-ratio-is-told": Case(
        one(RATIO, *[0.9] * 2, *[0.2] * 10, ready=10, behavior=ratio_behavior(TimeScale(100))), [10, 13, 3]
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def recorded(tmp_path_factory) -> Iterator[dict[str, list[Sync]]]:
    with scratch_control_plane(BASE_PORT) as plane:
        api = config.new_client_from_config(str(plane.kubeconfig_path))
        recorder = Recorder(api, {name: case.series for name, case in CASES.items()})
        with serving(recorder, tmp_path_factory.mktemp("recorder")):
            plane.start_workloads(hpa_sync_s=SYNC_S)
            recorder.play(PATIENCE_S)
            yield recorder.syncs


@pytest.mark.parametrize("name", CASES)
def test_the_twin_wants_what_the_real_controller_wanted(recorded, name):
    series, sizes = CASES[name]
    syncs = recorded[name]
    assert distinct([sync.replicas for sync in syncs]) == sizes
    twin = Autoscaler(series.behavior, series.minimum, series.maximum)
    if syncs[0].replicas != series.start:
        # Outside of its bounds: that sync asks for no metric.
        before = twin.sync(syncs[0].at - SYNC_S, [], replicas=series.start, ready=series.ready)
        assert before == syncs[0].replicas
    for now, then in pairwise(syncs):
        readings = [Reading(*each) for each in zip(now.metrics, series.triggers, strict=True)]
        # The controller stamps what it wants a moment after it asked for the metric, now sooner, now later:
        # a window or a period that ends so near a sync is over for it, or is not.
        for stamped_s in (0.0, STAMPED_S, -STAMPED_S):
            tried = deepcopy(twin)
            wanted = tried.sync(now.at + stamped_s, readings, replicas=now.replicas, ready=series.ready)
            if wanted == then.replicas:
                break
        else:
            pytest.fail(f"the twin wants {wanted} at {now}, the controller {then.replicas}, of {syncs}")
        twin = tried


def distinct(sizes: list[int]) -> list[int]:
    return [size for before, size in pairwise([None, *sizes]) if size != before]
