"""A set is staffed for the sum of its members' loads, whatever their mix."""

from math import isclose

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surge.policy.demand import BETA, WINDOWS_S, Demand, demand
from surge.policy.history import History, Sample
from surge.policy.pooling import Part, Pooled, pooled

SERVICE_S = st.floats(0.5, 30)
COUNTS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=2, max_size=200)


def part(service_s: float, counts: list[tuple[int, int]], every_s: float = 2.0) -> Part:
    """counts: (unacked, ready) of each sample."""
    samples = [Sample(number * every_s, *each) for number, each in enumerate(counts)]
    windows = History(WINDOWS_S[-1], service_s, samples).windows(WINDOWS_S)
    return Part(windows, service_s, 0.0, counts[-1][1])


def steady(service_s: float, unacked: int, ready: int = 0) -> Part:
    return part(service_s, [(unacked, ready)] * 200)


def needed(mix: Pooled, unacked: float, consumers: float = 0.0) -> Demand:
    return demand(
        mix.windows,
        Sample(0.0, unacked, mix.ready, consumers),
        service_s=mix.service_s,
        slots=1,
        drain_s=60.0,
        beta=BETA["pooled"],
        known=mix.known,
        windows_s=WINDOWS_S,
    )


@given(st.lists(st.tuples(SERVICE_S, COUNTS), min_size=1, max_size=5))
def test_the_load_of_a_set_is_the_sum_of_its_members_in_every_window(filters):
    parts = [part(service_s, counts) for service_s, counts in filters]
    mix = pooled(parts, WINDOWS_S)
    for at, length in enumerate(WINDOWS_S):
        shortest = min(length, WINDOWS_S[1])
        alone = sum(
            each.windows[at].mean_unacked
            + each.service_s * each.windows[at].growth / max(each.windows[at].span_s, shortest)
            for each in parts
        )
        together = mix.windows[at].load(mix.service_s, shortest)
        assert isclose(together, max(0.0, alone), rel_tol=1e-9, abs_tol=1e-6)


@given(SERVICE_S, COUNTS)
def test_a_set_of_one_is_that_filter(service_s, counts):
    alone = part(service_s, counts)
    mix = pooled([alone], WINDOWS_S)
    as_filter = Pooled(list(alone.windows), service_s, 0.0, alone.ready)
    unacked = counts[-1][0]
    for ours, theirs in zip(needed(mix, unacked), needed(as_filter, unacked), strict=True):
        assert ours == pytest.approx(theirs, abs=0.002)


def test_the_headroom_is_that_of_the_sum():
    tiny = [steady(2.0, 1) for _ in range(25)]
    assert needed(pooled(tiny, WINDOWS_S), 25).desired_workers == pytest.approx(25 + 1.06 * 5, abs=0.01)
    assert sum(needed(pooled([each], WINDOWS_S), 1).desired_workers for each in tiny) > 50


def test_a_backlog_is_measured_by_its_work():
    """Ten messages of 30 s keep more workers busy than ten of 1 s."""
    quick, slow = steady(1.0, 1), steady(30.0, 1)
    long_wait = pooled([quick, slow._replace(ready=10.0)], WINDOWS_S)
    short_wait = pooled([quick._replace(ready=10.0), slow], WINDOWS_S)
    assert long_wait.ready * long_wait.service_s == pytest.approx(300)
    assert short_wait.ready * short_wait.service_s == pytest.approx(10)


def test_the_service_time_is_that_of_the_busy_slots_and_of_all_members_at_rest():
    mix = pooled([steady(2.0, 3), steady(10.0, 1)], WINDOWS_S)
    assert mix.service_s == pytest.approx((3 * 2 + 1 * 10) / 4)
    assert pooled([steady(2.0, 0), steady(10.0, 0)], WINDOWS_S).service_s == pytest.approx(6)


def test_with_a_new_member_nothing_is_settled():
    mix = pooled([steady(2.0, 3), part(2.0, [(1, 0), (1, 0)])], WINDOWS_S)
    assert needed(mix, 4, consumers=9).settled is False
    assert needed(mix, 4, consumers=9).desired_workers == 9


def test_a_set_without_members_is_refused():
    with pytest.raises(ValueError, match="a set without members"):
        pooled([], WINDOWS_S)
