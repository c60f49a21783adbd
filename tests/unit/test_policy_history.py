"""Windows over columns of many filters are those of each filter's samples, taken one by one."""

from bisect import bisect_right
from itertools import accumulate, pairwise
from math import inf, nan

import pytest
from hypothesis import given
from hypothesis.strategies import floats, integers, lists, sets, tuples

from surge.policy.history import Histories, History, Sample, Window

LENGTHS_S = (5.0, 15.0, 60.0)
SERVICE_S = {"a": 8.0, "b": 2.0, "c": 30.0}
# Counts that no purge and no outage explains.
CALM = tuples(floats(0.5, 9), integers(0, 5), integers(0, 5))
# Who is sampled, how long after the last, unacked and ready of each.
STEP = tuples(
    sets(integers(0, 2), min_size=1), floats(0.1, 9), *[lists(integers(0, 60), min_size=3, max_size=3)] * 2
)


def plainly(samples: list[Sample], length_s: float) -> Window:
    times = [sample.at for sample in samples]
    areas = [
        (before.unacked + after.unacked) / 2 * (after.at - before.at) for before, after in pairwise(samples)
    ]
    integrals = [0.0, *accumulate(areas)]
    start = max(0, bisect_right(times, times[-1] - 0.99 * length_s) - 1)
    span_s = times[-1] - times[start]
    if span_s == 0:
        return Window(0.0, samples[0].unacked, 0.0)
    first, last = samples[start], samples[-1]
    growth = last.unacked + last.ready - first.unacked - first.ready
    return Window(span_s, (integrals[-1] - integrals[start]) / span_s, growth)


@given(lists(CALM, min_size=1, max_size=60))
def test_a_window_is_the_mean_and_the_growth_between_its_ends(steps):
    times = accumulate(passed for passed, *_ in steps)
    samples = [Sample(at, *counts) for at, (_, *counts) in zip(times, steps, strict=True)]
    seen = History(LENGTHS_S[-1], 8.0, samples).windows(LENGTHS_S)
    for window, length_s in zip(seen, LENGTHS_S, strict=True):
        assert window == pytest.approx(plainly(samples, length_s))


@given(lists(STEP, max_size=60))
def test_filters_that_are_sampled_apart_have_the_windows_they_had_alone(steps):
    together = Histories(LENGTHS_S[-1], SERVICE_S)
    alone = {name: History(LENGTHS_S[-1], service_s) for name, service_s in SERVICE_S.items()}
    now = 0.0
    for who, passed, unacked, ready in steps:
        now += passed
        slots = sorted(who)
        together.append(now, slots, [unacked[slot] for slot in slots], [ready[slot] for slot in slots])
        for slot in slots:
            name = [*SERVICE_S][slot]
            alone[name].append(now, unacked[slot], ready[slot])
            assert together.windows(name, LENGTHS_S) == alone[name].windows(LENGTHS_S)
    assert together.busy_s() == {name: each.busy_s for name, each in alone.items() if len(each)}


def test_nodes_that_are_read_one_after_the_other_share_a_round():
    seen = Histories(60.0, SERVICE_S)
    for second in range(0, 20, 2):
        seen.append(second + 0.2, [0, 1], [1, 1], [0, 0])
        seen.append(second + 0.1, [2], [1], [0])
    assert len(seen) == 10
    assert seen.windows("c", [60.0]) == [Window(18.0, pytest.approx(1.0), 0.0)]


def test_who_stays_keeps_his_samples_and_who_comes_has_none():
    before = Histories(60.0, SERVICE_S)
    for second in range(0, 60, 2):
        before.append(second, [0, 1, 2], [1, 2, 3], [0, second, 0])
    after = before.following({"new": 1.0, "c": 30.0, "b": 2.0, "a": 8.0}, kept={"b", "c"})
    for name in ("b", "c"):
        assert after.windows(name, LENGTHS_S) == before.windows(name, LENGTHS_S)
    for name in ("new", "a"):
        assert after.windows(name, [5.0]) == [Window(0.0, 0.0, 0.0)]
    assert set(after.busy_s()) == {"b", "c"}
    after.append(60, [0, 1, 2, 3], [4, 3, 2, 9], [0, 0, 60, 0])
    assert after.windows("new", [5.0]) == [Window(0.0, 4.0, 0.0)]
    assert after.windows("b", [5.0], until=58.0) == before.windows("b", [5.0])
    with pytest.raises(KeyError):
        after.windows("gone", [5.0])


def test_a_purge_is_of_the_filter_that_was_purged():
    seen = Histories(60.0, SERVICE_S)
    seen.append(0, [0, 1, 2], [1, 1, 1], [500, 500, 0])
    seen.append(2, [0, 1, 2], [1, 1, 1], [0, 500, 5])
    assert [seen.windows(name, [60.0])[0].growth for name in SERVICE_S] == [0, 0, 5]
    assert [seen.level(name) for name in SERVICE_S] == [1, 501, 6]


@pytest.mark.parametrize("wrong", [nan, inf, -inf])
def test_a_number_that_is_not_finite_is_refused_and_changes_nothing(wrong):
    seen = Histories(60.0, SERVICE_S)
    seen.append(0, [0, 1], [1, 2], [0, 0])
    for bad in ((wrong, [3, 3], [0, 0]), (2.0, [3, wrong], [0, 0]), (2.0, [3, 3], [wrong, 0])):
        at, unacked, ready = bad
        with pytest.raises(ValueError, match="want a finite"):
            seen.append(at, [0, 1], unacked, ready)
    assert seen.windows("b", [5.0]) == [Window(0.0, 2.0, 0.0)]


def test_a_sample_that_is_not_newer_is_left_out():
    seen = Histories(60.0, SERVICE_S)
    seen.append(4, [0, 1], [1, 2], [0, 0])
    seen.append(4, [0, 2], [9, 3], [0, 0])
    seen.append(2, [0], [9], [0])
    assert [seen.windows(name, [5.0])[0].mean_unacked for name in SERVICE_S] == [1, 2, 3]
