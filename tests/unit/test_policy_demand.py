"""The law on arrivals that a small event simulation of M/G/N makes; sizes are in model seconds."""

import heapq
from collections import deque
from math import isfinite
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis.strategies import floats, integers, lists, tuples

from surge.policy.demand import BETA, WINDOWS_S, desired_workers, offered_load, staffed, wait_probability
from surge.policy.history import History, Sample

SERVICE_S = 8.0


def observed(rate, workers: int, until_s: float, seed: int = 1, every_s: float = 2.0) -> list[Sample]:
    """Samples of a filter with exponential service; `rate(t)`: arrivals per second, at most 100."""
    random, now, busy, waiting = Random(seed), 0.0, [], deque()
    samples, due = [], 0.0
    while now < until_s:
        now += random.expovariate(100)
        while busy and busy[0] <= now:
            ended = heapq.heappop(busy)
            if waiting:
                waiting.popleft()
                heapq.heappush(busy, ended + random.expovariate(1 / SERVICE_S))
        while due <= now:
            samples.append(Sample(due, len(busy), len(waiting), workers))
            due += every_s
        if random.random() < rate(now) / 100:
            if len(busy) < workers:
                heapq.heappush(busy, now + random.expovariate(1 / SERVICE_S))
            else:
                waiting.append(now)
    return samples


def need(samples: list[Sample], **changed):
    return desired_workers(samples, **{"service_s": SERVICE_S, **changed})


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("load", [1.4, 7, 70])
def test_steady_arrivals_are_measured_within_four_deviations(load, seed):
    measured = need(observed(lambda _: load / SERVICE_S, 200, 400, seed)).offered_load
    assert abs(measured - load) <= 4 * (1.5 * load * SERVICE_S / 60) ** 0.5


@pytest.mark.parametrize("seed", range(5))
def test_a_7x_step_is_seen_within_20_seconds_while_all_workers_are_busy(seed):
    samples = observed(lambda t: (7 if t < 400 else 49) / SERVICE_S, 10, 420, seed)
    assert samples[-1].unacked == 10
    seen = need(samples)
    assert seen.offered_load > 25
    assert seen.desired_workers > 35


@pytest.mark.parametrize("seed", range(5))
def test_the_end_of_a_spike_is_seen_within_two_minutes(seed):
    samples = observed(lambda t: (49 if t < 400 else 7) / SERVICE_S, 80, 520, seed)
    assert need(samples).desired_workers < 20


def test_a_flat_load_asks_for_square_root_staffing():
    samples = [Sample(2.0 * i, 25, 0, 40) for i in range(200)]
    assert need(samples) == (pytest.approx(25 + 1.06 * 5, abs=1e-3), 25, 298, True)


def test_a_backlog_asks_for_what_drains_it_unless_the_headroom_does():
    assert staffed(25, 10, 8, 60, 1.06) == pytest.approx(30.3)
    assert staffed(25, 600, 8, 60, 1.06) == pytest.approx(25 + 80)


def test_slots_divide_the_workers():
    samples = [Sample(2.0 * i, 24, 0, 10) for i in range(200)]
    assert need(samples, slots=4).desired_workers == pytest.approx((24 + 1.06 * 24**0.5) / 4, abs=1e-3)


def test_one_waiting_message_wakes_a_filter_at_zero():
    idle = [Sample(2.0 * i, 0, 0, 0) for i in range(200)]
    assert need(idle).desired_workers == 0
    assert need([*idle, Sample(400, 0, 1, 0)]).desired_workers >= 1
    assert need([Sample(0, 0, 1, 0)]).desired_workers >= 1


def test_a_filter_rests_at_zero_only_after_the_longest_window_was_idle():
    one_job = [Sample(2.0 * i, 1 if 100 <= i < 104 else 0, 0, 1) for i in range(400)]
    assert need(one_job[:200]).desired_workers > 0
    assert need(one_job).desired_workers == 0


def test_a_single_message_on_a_quiet_filter_asks_for_one_worker():
    samples = [Sample(2.0 * i, 1 if i >= 198 else 0, 0, 1) for i in range(200)]
    assert 0 < need(samples).desired_workers <= 1


def test_a_server_that_has_just_started_says_so_and_never_asks_for_less_than_there_is():
    young = [Sample(2.0 * i, 3, 0, 50) for i in range(20)]
    seen = need(young)
    assert seen.window_s == 38
    assert not seen.settled
    assert seen.desired_workers == 50
    old = [Sample(2.0 * i, 3, 0, 50) for i in range(200)]
    assert need(old).settled
    assert need(old).desired_workers < 6


def test_two_samples_a_moment_apart_are_no_arrival_rate():
    assert need([Sample(0, 0, 0, 10), Sample(0.5, 3, 0, 10)]).offered_load < 5


def test_a_purge_is_not_read_as_negative_arrivals():
    busy = [Sample(2.0 * i, 10, 500, 10) for i in range(200)]
    purged = [*busy, *(Sample(400 + 2.0 * i, 10, 0, 10) for i in range(5))]
    assert need(purged).offered_load == pytest.approx(10)


def test_counts_that_a_restarted_broker_shows_late_are_not_read_as_arrivals():
    busy = [Sample(2.0 * i, 10, 500, 10) for i in range(200)]
    restarted = [
        *busy,
        Sample(410, 0, 0, 0),
        Sample(412, 0, 510, 0),
        *(Sample(414 + i, 10, 500, 10) for i in range(9)),
    ]
    assert need(restarted).offered_load < 15


def test_workers_that_lose_their_messages_change_nothing_in_the_system():
    steady = [Sample(2.0 * i, 10, 0, 10) for i in range(200)]
    lost = [*steady, Sample(400, 0, 10, 0)]
    assert need(lost).offered_load == pytest.approx(10, abs=0.5)


@given(
    lists(tuples(floats(-1, 400), integers(-9, 5_000), integers(-9, 5_000), integers(-9, 300)), max_size=40),
    floats(0.1, 600),
    integers(1, 64),
    floats(0, 600),
    floats(0, 1),
)
def test_no_history_makes_it_fail_or_negative_or_uneven(rows, service_s, slots, lead_s, known):
    samples = [Sample(*row) for row in rows]
    seen = desired_workers(samples, service_s=service_s, slots=slots, lead_s=lead_s, known=known)
    for number in seen[:3]:
        assert isfinite(number)
        assert number >= 0
        assert number == round(number, 3)
    if rows and (rows[-1][1] > 0 or rows[-1][2] > 0):
        assert seen.desired_workers >= 1


@settings(max_examples=50)
@given(lists(tuples(floats(0.1, 9), integers(0, 300), integers(0, 300)), min_size=2, max_size=300))
def test_the_ring_remembers_what_the_whole_history_says(steps):
    now, whole, ring = 0.0, History(1e9, SERVICE_S), History(WINDOWS_S[-1], SERVICE_S)
    for step, unacked, ready in steps:
        now += step
        for history in (whole, ring):
            history.append(now, unacked, ready)
    assert len(ring) <= len(whole)
    for length in WINDOWS_S:
        assert ring.window(length) == pytest.approx(whole.window(length))


@given(floats(0, 500), floats(0, 500), floats(0.1, 60))
def test_equal_windows_are_the_load(load, other, service_s):
    same = offered_load([load] * 4, WINDOWS_S, service_s)
    assert same == (load if load > 1e-6 else 0)
    chosen = offered_load([other, load, load, load], WINDOWS_S, service_s)
    assert chosen >= same


@given(lists(floats(0, 500), min_size=4, max_size=4), floats(0.1, 60))
def test_the_load_is_that_of_one_of_the_windows(loads, service_s):
    assert offered_load(loads, WINDOWS_S, service_s) in {*loads, 0}


def test_a_lull_of_seconds_is_no_reason_to_scale_in_but_one_of_a_minute_is():
    assert offered_load([0, 0, 70, 70], WINDOWS_S, SERVICE_S) == 70
    assert offered_load([0, 0, 10, 70], WINDOWS_S, SERVICE_S) == 10


def test_three_windows_will_do():
    samples = [Sample(2.0 * i, 25, 0, 40) for i in range(200)]
    assert need(samples, windows_s=(15, 60, 300)) == need(samples)


def test_workers_that_are_missing_are_asked_for_with_what_will_wait_when_they_come():
    steady = [Sample(2.0 * i, 10, 0, 10) for i in range(200)]
    risen = [*steady, *(Sample(400 + 2.0 * i, 10, 6 * (i + 1), 10) for i in range(10))]
    without, ahead = need(risen), need(risen, lead_s=63)
    assert without.offered_load == ahead.offered_load
    missing = ahead.offered_load - 10
    assert ahead.desired_workers == pytest.approx(ahead.offered_load + missing * 63 / 60, abs=0.01)
    assert ahead.desired_workers > without.desired_workers


def test_the_forecast_does_not_grow_with_the_backlog_that_it_foresaw():
    steady = [Sample(2.0 * i, 100, 0, 100) for i in range(200)]
    asked = []
    for seconds in (30, 40, 50, 60):
        risen = [Sample(400 + i, 100, 50 * (i + 1), 100) for i in range(seconds)]
        asked.append(need([*steady, *risen], lead_s=63).desired_workers)
    assert max(asked) <= 1.05 * asked[0]


def test_workers_that_only_lost_their_connection_are_not_missing():
    steady = [Sample(2.0 * i, 10, 0, 10) for i in range(200)]
    lost = [*steady, Sample(400, 0, 10, 0)]
    assert need(lost, lead_s=63).desired_workers == pytest.approx(need(lost).desired_workers, abs=0.6)


@given(floats(0, 500), integers(0, 900), floats(0.1, 60), floats(0, 1))
def test_more_backlog_never_asks_for_less(load, ready, service_s, known):
    fewer, more = (staffed(load, each, service_s, 60, 1.06, known=known) for each in (ready, ready + 1))
    assert more >= fewer


@given(floats(0, 500), integers(0, 9000), floats(0.1, 60), floats(1, 600), floats(0, 1))
def test_the_last_of_a_backlog_waits_no_longer_than_the_drain(load, ready, service_s, drain_s, known):
    slots = staffed(load, ready, service_s, drain_s, 1.06, known=known)
    assert ready * service_s <= drain_s * slots * (1 + 1e-9)
    assert slots >= load + 1.06 * load**0.5


@given(floats(0, 500), integers(0, 9000), floats(0.1, 60), floats(0, 1))
def test_a_service_time_that_is_known_costs_a_headroom_at_most(load, ready, service_s, known):
    before, after = (staffed(load, ready, service_s, 60, 1.06, known=share) for share in (0.0, known))
    assert after <= before + 1.06 * load**0.5 + 1e-9


def test_a_known_service_time_drains_in_twice_the_time_beside_the_headroom():
    assert staffed(49, 300, 8, 60, 1.06, known=1.0) == pytest.approx(49 + 1.06 * 7 + 20)
    assert staffed(49, 300, 8, 60, 1.06) == pytest.approx(49 + 40)


def test_the_classes_have_the_wait_probabilities_they_state():
    assert wait_probability(BETA["interactive"]) == pytest.approx(0.20, abs=0.005)
    assert wait_probability(BETA["batch"]) == pytest.approx(0.50, abs=0.005)
    assert wait_probability(0) == 1


@pytest.mark.parametrize(
    "wrong",
    [{"service_s": 0}, {"slots": 0}, {"drain_s": 0}, {"beta": -1}, {"lead_s": -1}, {"known": 1.1}],
    ids=lambda wrong: next(iter(wrong)),
)
def test_a_quantity_outside_its_range_is_refused(wrong):
    with pytest.raises((ValueError, ZeroDivisionError), match="want"):
        need([Sample(0, 1, 0, 1)], **wrong)
