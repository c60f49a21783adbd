"""The explanation of a filter's workers adds up to what is served."""

import json
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from metrics_server.config import FilterSpec
from metrics_server.explain import Explanation, explained
from metrics_server.service_times import Learnt
from metrics_server.snapshot import Read, Row
from metrics_server.sources import Counts
from surge.policy.demand import demand
from surge.policy.history import History, Sample, Window

WINDOWS_S = (5.0, 15.0, 60.0, 300.0)
SPEC = FilterSpec("a", "filter.a", 1, 8.0, 60.0, 1.06, 63.0)
COUNTS = st.tuples(st.integers(0, 300), st.integers(0, 300), st.integers(0, 300))


def served(
    spec: FilterSpec, *samples: tuple[float, int, int, int], learnt: Learnt | None = None
) -> tuple[Row, list[Window]]:
    """samples: (seconds, ready, unacked, consumers), oldest first."""
    service_s, known = learnt or (spec.service_s, 0.0)
    history = History(WINDOWS_S[-1], spec.service_s)
    for at, ready, unacked, _ in samples:
        history.append(at, unacked, ready)
    at, ready, unacked, consumers = samples[-1]
    windows = history.windows(WINDOWS_S)
    need = demand(
        windows,
        Sample(at, unacked, ready, consumers),
        service_s=service_s,
        slots=spec.slots,
        drain_s=spec.drain_s,
        beta=spec.beta,
        known=known,
        windows_s=WINDOWS_S,
        lead_s=spec.lead_s,
    )
    counts = Counts(float(ready), float(unacked), float(consumers))
    read = Read(at, 1.8e9, "http://n", "test", lambda _row: need, {spec.name: learnt} if learnt else {})
    return Row(spec, counts, read), windows


def steady(until: float, unacked: int, consumers: int) -> list[tuple[float, int, int, int]]:
    return [(float(at), 0, unacked, consumers) for at in range(0, int(until) + 1, 2)]


def told(*samples: tuple[float, int, int, int]) -> dict:
    row, windows = served(SPEC, *samples)
    return json.loads(explained(row, windows, WINDOWS_S, age_s=1.5, stale_s=20.0))


@given(
    st.lists(COUNTS, min_size=1, max_size=40),
    st.sampled_from([0.5, 2.0, 9.0]),
    st.sampled_from([1, 4]),
    st.sampled_from([0.0, 63.0]),
    st.sampled_from([None, Learnt(4.0, 0.3), Learnt(30.0, 0.97)]),
)
def test_the_steps_add_up_to_the_workers_that_are_served(counts, every_s, slots, lead_s, learnt):
    spec = FilterSpec("a", "filter.a", slots, 8.0, 60.0, 1.06, lead_s)
    samples = [(number * every_s, *each) for number, each in enumerate(counts)]
    row, windows = served(spec, *samples, learnt=learnt)
    why = Explanation(row, windows, WINDOWS_S)
    assert why.workers == row.demand.desired_workers
    assert round(why.load, 3) == row.demand.offered_load
    assert list(why.lines())[-1].startswith("desired workers = ")


def test_a_young_history_says_that_nothing_scales_in():
    answer = told((0.0, 4, 7, 30))
    assert answer["settled"] is False
    assert answer["won"]["floor"] == "not settled: nothing scales in on a guess"
    assert "settled once the longest window is whole: 0 of 300 s seen" in answer["why"]
    assert answer["why"][-1] == "desired workers = 30"


def test_a_steady_filter_is_staffed_by_the_longest_window_and_the_square_root():
    answer = told(*steady(310, 49, 60))
    assert answer["won"] == {"window_s": 300, "headroom": "square-root staffing", "floor": None}
    assert "load x = mean U + S·growth/span = 49 + 8·0/298 = 49 busy slots" in answer["why"]
    assert "workers = (x + headroom) / slots = (49 + 7.42) / 1 = 56.42" in answer["why"]
    assert answer["desired_workers"] == 56.42


def test_a_step_is_seen_by_a_short_window_and_asks_for_its_backlog():
    rising = [(312.0 + 2 * number, 100 * number, 60, 60) for number in range(1, 4)]
    answer = told(*steady(312, 49, 60), *rising)
    assert answer["won"]["window_s"] < 300
    assert answer["won"]["headroom"] == "backlog"
    assert any("it differs beyond chance from the" in line for line in answer["why"])


def test_an_idle_filter_without_consumers_has_no_ratio_to_compute():
    answer = told(*steady(310, 0, 0))
    assert answer["why"][0] == "active ratio = 0: no consumers; 1 when a message waits, else 0"
    assert answer["desired_workers"] == 0


def test_live_consumers_change_nothing_but_themselves():
    row, windows = served(SPEC, *steady(310, 49, 60))
    known, unknown = (
        json.loads(explained(row, windows, WINDOWS_S, age_s=1.5, stale_s=20.0, live_consumers=live))
        for live in (70, None)
    )
    assert known.pop("live_consumers") == 70
    assert unknown.pop("live_consumers") is None
    assert known == unknown


def test_inputs_windows_source_and_age_are_told():
    answer = told(*steady(310, 49, 60))
    assert answer["inputs"] == {
        "unacked": 49,
        "ready": 0,
        "consumers": 60,
        "slots": 1,
        "service_s": 8,
        "service_s_from": "catalogue",
        "service_s_known": 0,
        "drain_s": 60,
        "lead_s": 63,
        "beta": 1.06,
    }
    assert answer["read"] == {"source": "test", "node": "http://n", "age_s": 1.5, "stale_s": 20}
    lengths = [each["length_s"] for each in answer["windows"]]
    assert all(shorter < longer for shorter, longer in pairwise(lengths))
    assert answer["windows"][-1] == {
        "length_s": 300,
        "span_s": 298,
        "mean_unacked": 49,
        "growth": 0,
        "load": 49,
    }


def test_a_learnt_service_time_is_told_with_how_far_it_is_known():
    rising = [(310.0 + at, 12 * at, 49, 49) for at in range(2, 20, 2)]
    row, windows = served(SPEC, *steady(308, 49, 49), *rising, learnt=Learnt(16.0, 0.9))
    answer = json.loads(explained(row, windows, WINDOWS_S, age_s=1.5, stale_s=20.0))
    inputs = answer["inputs"]
    assert (inputs["service_s"], inputs["service_s_known"]) == (16, 0.9)
    assert inputs["service_s_from"] == "acknowledgements"
    assert "S is learnt, known k = 0.9: the backlog may take D·(1 + k) beside the headroom" in answer["why"]
    assert answer["why"][-1] == f"desired workers = {answer['desired_workers']:.10g}"


def test_a_backlog_that_would_wait_too_long_is_the_reason_given():
    samples = [(float(at), 300, 0, 1) for at in range(0, 312, 2)]
    row, windows = served(SPEC, *samples, learnt=Learnt(8.0, 0.9))
    why = json.loads(explained(row, windows, WINDOWS_S, age_s=1.5, stale_s=20.0))["why"]
    assert "the last of the backlog would wait for more than D: at least B·S/D = 40" in why
    assert why[-1] == "desired workers = 40"
