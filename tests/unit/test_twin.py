"""Whole runs: the figures that docs/adr/0005-scaling-law.md decides by, with room for other seeds."""

import statistics
from functools import cache

import numpy as np
import pytest

from lab.bench.laws import BEFORE, BOUND, CASE_STUDY, LAWS, LEARNT, OURS, compressed
from surge.policy.demand import WINDOWS_S, desired_workers
from surge.policy.scaling import demand_behavior
from surge.policy.timescale import TimeScale
from surge.twin import Scenario, simulate
from surge.twin.laws import Demanded, DemandedLearning
from surge.twin.shapes import SHAPES

pytestmark = pytest.mark.long

SEEDS = range(201, 206)
AIMED = ("step", "hour", "flat")


@cache
def outcomes(law: str, busy: float, shape: str):
    return [simulate(Scenario(busy=busy, shape=shape, seed=seed), LAWS[law]) for seed in SEEDS]


def gpu_h(law: str, busy: float) -> float:
    return statistics.fmean(run.gpu_h for shape in AIMED for run in outcomes(law, busy, shape))


on_both = pytest.mark.parametrize("law", [OURS, LEARNT])


@on_both
@pytest.mark.parametrize(("busy", "most"), [(7.0, 1.15), (70.0, 1.10)])
def test_demand_costs_little_more_than_knowing_the_future(law, busy, most):
    assert gpu_h(law, busy) <= most * gpu_h(BOUND, busy)


@on_both
@pytest.mark.parametrize("busy", [7.0, 70.0])
def test_demand_costs_30_percent_less_than_the_case_study(law, busy):
    assert gpu_h(law, busy) <= 0.70 * gpu_h(CASE_STUDY, busy)


@on_both
@pytest.mark.parametrize("busy", [7.0, 70.0])
def test_hardly_a_request_of_a_7x_step_is_late(law, busy):
    late = statistics.fmean(run.late_share for run in outcomes(law, busy, "step"))
    assert late <= 0.0012
    assert late <= 0.05 * statistics.fmean(run.late_share for run in outcomes(CASE_STUDY, busy, "step"))


@on_both
@pytest.mark.parametrize("busy", [7.0, 70.0])
def test_demand_turns_round_less_often_than_the_law_before_it(law, busy):
    turns = {
        each: statistics.fmean(run.turns for shape in AIMED for run in outcomes(each, busy, shape))
        for each in (law, BEFORE)
    }
    assert turns[law] < turns[BEFORE]


@pytest.mark.parametrize("busy", [7.0, 70.0])
def test_a_known_service_time_overshoots_a_step_by_little_more_than_half(busy):
    peaks = {
        law: statistics.fmean(run.peak for run in outcomes(law, busy, "step"))
        for law in (OURS, LEARNT, BOUND)
    }
    assert peaks[LEARNT] <= 1.6 * peaks[BOUND]
    assert peaks[LEARNT] < 0.95 * peaks[OURS]


def test_the_same_arguments_give_the_same_outcome():
    scenario = Scenario(busy=7, shape="step", seed=3, idle_first=False)
    assert simulate(scenario, LAWS[OURS]) == simulate(scenario, LAWS[OURS])


def test_every_law_meets_the_same_requests():
    one, other = (Scenario(busy=7, shape="noise", seed=3).load() for _ in range(2))
    assert np.array_equal(one, other)
    assert not np.array_equal(SHAPES["noise"](3), SHAPES["noise"](4))


class Recorded(Demanded):
    """Keeps what it saw and said."""

    def __init__(self) -> None:
        super().__init__(8.0)
        self.seen, self.said = [], []

    def see(self, sample, finished):
        super().see(sample, finished)
        self.seen.append(sample)

    def metric(self, now_s):
        self.said.append((len(self.seen), super().metric(now_s)))
        return self.said[-1][1]


def test_the_law_in_the_twin_is_the_one_that_is_served():
    law = Recorded()
    simulate(Scenario(busy=7, shape="step", seed=2), lambda _: law)
    for count, metric in law.said[:: len(law.said) // 40]:
        samples = [each for each in law.seen[:count] if each.at >= law.seen[count - 1].at - WINDOWS_S[-1] - 9]
        assert desired_workers(samples, service_s=8.0, lead_s=63.0).desired_workers == pytest.approx(metric)


def test_whole_seconds_of_a_stack_compressed_7_5_times_are_the_same_constants():
    assert compressed(7.5) == demand_behavior(TimeScale(1.0))


@pytest.mark.parametrize("busy", [1.4, 7.0, 70.0])
@pytest.mark.parametrize("wrong", [0.5, 2.0])
def test_a_learnt_service_time_makes_up_for_a_wrong_one(busy, wrong):
    def learning(scenario):
        return DemandedLearning(scenario.service_s * wrong)

    runs = [simulate(Scenario(busy=busy, shape="step", seed=seed), learning) for seed in SEEDS]
    right = outcomes(LEARNT, busy, "step")
    assert statistics.fmean(run.gpu_h for run in runs) <= 1.05 * statistics.fmean(r.gpu_h for r in right)
    late = statistics.fmean(run.late_share for run in runs)
    assert late <= 0.001 + statistics.fmean(run.late_share for run in right)


class Restarted(Demanded):
    """A metric server that starts anew at `at_s`."""

    def __init__(self, at_s: float) -> None:
        super().__init__(8.0)
        self.at_s, self.forgot = at_s, False
        self.least = np.inf

    def see(self, sample, finished):
        if sample.at >= self.at_s and not self.forgot:
            self.history = type(self.history)(WINDOWS_S[-1], 8.0)
            self.forgot = True
        super().see(sample, finished)

    def metric(self, now_s):
        metric = super().metric(now_s)
        if self.at_s <= now_s <= self.at_s + 280:
            self.least = min(self.least, metric - self.last.consumers)
        return metric


def test_nothing_scales_in_on_a_server_that_has_just_started():
    law = Restarted(at_s=6700)
    simulate(Scenario(busy=7, shape="step", seed=2), lambda _: law)
    assert law.forgot
    assert law.least >= 0
