"""What a spike's report says, from hand-made journals."""

from typing import Any

import pytest

from lab.spike.__main__ import _code, _tell
from lab.spike.report import FilterFacts, filter_figures, total_figures, waits_of

PROMISED = {
    "time_factor",
    "published",
    "finished",
    "lost",
    "finished_twice",
    "redelivered",
    "redelivered_by_scale_in",
    "late_share",
    "wait_p50_s",
    "wait_p95_s",
    "wait_p99_s",
    "warmup_s",
    "hpa_sync_s",
    "time_to_capacity_s",
    "peak_workers",
    "worker_seconds",
    "busy_seconds",
}


def worker(t: float, event: str, name: str = "w1") -> dict[str, Any]:
    return {"t": t, "event": event, "filter": "ghibli", "worker": name}


def job(t: float, event: str, key: str, name: str = "w1", **more: Any) -> dict[str, Any]:
    return {**worker(t, event, name), "message_id": key, "published_at": 0.0, "redelivered": False, **more}


def facts(
    events: list[dict[str, Any]], published: dict[str, float] | None = None, **more: Any
) -> FilterFacts:
    usual: dict[str, Any] = {
        "signal": "demand",
        "slots": 1,
        "slo_s": 60,
        "warmup_s": 60,
        "hpa_sync_s": 15,
        "capacity": 2,
        "spike_at": 120.0,
        "start": 100.0,
        "end": 200.0,
    }
    return FilterFacts(published=published or {}, events=events, **(usual | more))


def test_each_published_message_finished_once_is_a_clean_account():
    events = [
        job(110, "started", "a"),
        job(112, "finished", "a"),
        job(112, "started", "b"),
        job(115, "finished", "b"),
    ]
    figures = filter_figures(facts(events, {"a": 109.0, "b": 111.0}), 1)
    names = (
        "published",
        "finished",
        "lost",
        "finished_twice",
        "redelivered",
        "redelivered_by_scale_in",
        "late",
    )
    assert [figures[name] for name in names] == [2, 2, 0, 0, 0, 0, 0]
    assert figures["signal"] == "demand"


def came_back_unbegun() -> list[dict[str, Any]]:
    return [
        worker(105, "drained", "w0"),
        job(110, "started", "a", redelivered=True),
        job(112, "finished", "a"),
    ]


def test_a_message_that_crossed_a_cancel_counts_as_redelivered_by_a_scale_in():
    figures = filter_figures(facts(came_back_unbegun(), {"a": 109.0}), 1)
    assert (figures["redelivered"], figures["redelivered_by_scale_in"]) == (1, 1)


def test_but_not_when_a_crash_may_have_sent_it_back():
    events = [worker(104, "killed", "w9"), *came_back_unbegun()]
    figures = filter_figures(facts(events, {"a": 109.0}), 1)
    assert (figures["redelivered"], figures["redelivered_by_scale_in"]) == (1, 0)


def test_a_message_nobody_finished_is_lost_and_late():
    events = [job(110, "started", "a"), job(112, "finished", "a"), job(112, "started", "b")]
    figures = filter_figures(facts(events, {"a": 109.0, "b": 111.0, "c": 111.0}), 1)
    assert figures["lost"] == 2
    assert figures["late_share"] == pytest.approx(2 / 3, abs=1e-6)


def test_messages_of_another_run_count_for_nothing():
    events = [job(110, "started", "old"), job(112, "finished", "old"), job(113, "finished", "old")]
    figures = filter_figures(facts(events, {}), 1)
    assert [figures[name] for name in ("published", "finished", "finished_twice", "busy_seconds")] == [
        0,
        0,
        0,
        0,
    ]
    assert figures["late_share"] == 0
    assert figures["wait_p99_s"] is None


def test_a_message_finished_twice_by_sound_workers_is_unexplained():
    events = [job(111, "finished", "a"), job(115, "finished", "a", "w2")]
    figures = filter_figures(facts(events, {"a": 109.0}), 1)
    assert (figures["finished_twice"], figures["finished_twice_unexplained"]) == (1, 1)
    assert figures["finished"] == 1


@pytest.mark.parametrize("how", ["killed", "unready"])
def test_a_message_finished_twice_is_explained_by_a_worker_that_lost_its_connection(how):
    events = [job(111, "finished", "a"), worker(111.1, how), job(115, "finished", "a", "w2")]
    figures = filter_figures(facts(events, {"a": 109.0}), 1)
    assert (figures["finished_twice"], figures["finished_twice_unexplained"]) == (1, 0)


def test_a_worker_killed_before_the_run_explains_nothing():
    events = [worker(50, "killed"), job(111, "finished", "a"), job(115, "finished", "a", "w2")]
    assert filter_figures(facts(events, {"a": 109.0}), 1)["finished_twice_unexplained"] == 1


@pytest.mark.parametrize(("reason", "by_scale_in"), [("scale_in", 1), ("killed", 0), ("broker", 0)])
def test_a_redelivery_is_blamed_on_the_scale_in_that_caused_it_alone(reason, by_scale_in):
    events = [
        job(110, "started", "a"),
        job(112, "abandoned", "a", reason=reason),
        job(113, "started", "a", "w2", redelivered=True),
        job(115, "finished", "a", "w2"),
    ]
    figures = filter_figures(facts(events, {"a": 109.0}), 1)
    assert (figures["redelivered"], figures["redelivered_by_scale_in"]) == (1, by_scale_in)
    assert figures["lost"] == 0


def test_a_wait_is_until_the_first_start_in_model_seconds_and_late_beyond_the_slo():
    events = [
        job(110, "started", "a"),
        job(118, "started", "b"),
        job(119, "started", "a", "w2", redelivered=True),
        *(job(130, "finished", key) for key in "ab"),
    ]
    # 8 and 8.1 wall seconds are 60 and 60.75 model seconds.
    of_run = facts(events, {"a": 102.0, "b": 109.9})
    figures = filter_figures(of_run, 7.5)
    assert sorted(waits_of(of_run, 7.5)) == pytest.approx([60.0, 60.75])
    assert figures["late"] == 1
    assert figures["late_share"] == 0.5


def test_a_clock_that_steps_back_makes_no_negative_wait():
    assert waits_of(facts([job(110, "started", "a")], {"a": 110.5}), 1) == [0.0]


def test_percentiles_are_waits_that_were_seen():
    events = [
        event
        for n in range(100)
        for event in (job(110 + n, "started", f"{n}"), job(110 + n, "finished", f"{n}"))
    ]
    figures = filter_figures(facts(events, {f"{n}": 110.0 for n in range(100)}), 1)
    assert figures["wait_p50_s"] in {49, 50}
    assert figures["wait_p95_s"] in {94, 95}
    assert figures["wait_p99_s"] in {98, 99}


def test_capacity_is_reached_when_enough_slots_are_ready_after_the_spike_began():
    events = [worker(90, "ready", "w1"), worker(125, "warming", "w2"), worker(133, "ready", "w2")]
    assert filter_figures(facts(events), 7.5)["time_to_capacity_s"] == pytest.approx(13 * 7.5)
    assert filter_figures(facts(events, slots=2), 7.5)["time_to_capacity_s"] == pytest.approx(5 * 7.5)


@pytest.mark.parametrize("how", ["unready", "draining", "drained", "killed"])
def test_a_worker_that_is_no_longer_ready_is_no_capacity(how):
    events = [worker(90, "ready", "w1"), worker(122, how, "w1"), worker(130, "ready", "w2")]
    assert filter_figures(facts(events), 1)["time_to_capacity_s"] is None


def test_workers_count_from_warming_to_their_end_and_only_within_the_run():
    events = [
        worker(50, "warming", "w1"),
        worker(58, "ready", "w1"),
        worker(120, "warming", "w2"),
        worker(128, "ready", "w2"),
        worker(150, "draining", "w2"),
        worker(160, "drained", "w2"),
        worker(250, "drained", "w1"),
    ]
    figures = filter_figures(facts(events), 2)
    assert figures["worker_seconds"] == (100 + 40) * 2
    assert figures["peak_workers"] == 2


def test_workers_that_were_there_at_the_start_are_in_the_peak():
    events = [worker(90, "ready", "w1"), worker(91, "ready", "w2"), worker(110, "drained", "w2")]
    assert filter_figures(facts(events), 1)["peak_workers"] == 2
    assert filter_figures(facts(events[:2]), 1)["peak_workers"] == 2


def test_work_that_came_to_nothing_was_busy_all_the_same():
    events = [
        job(110, "started", "a"),
        job(114, "abandoned", "a", reason="killed"),
        job(115, "started", "a", "w2", redelivered=True),
        job(121, "finished", "a", "w2"),
    ]
    assert filter_figures(facts(events, {"a": 109.0}), 2)["busy_seconds"] == (4 + 6) * 2


def test_the_total_adds_counts_and_pools_waits():
    events = [
        job(111, "started", "a"),
        job(115, "finished", "a"),
        worker(101, "ready"),
        worker(121, "ready", "w2"),
    ]
    one = facts(sorted(events, key=lambda event: event["t"]), {"a": 109.0})
    other = facts([], {"b": 109.0}, warmup_s=90)
    figures = [filter_figures(item, 1) for item in (one, other)]
    total = total_figures(figures, [*waits_of(one, 1), *waits_of(other, 1)])
    assert (total["published"], total["finished"], total["lost"]) == (2, 1, 1)
    assert total["late_share"] == 0.5
    assert total["wait_p50_s"] == 2
    assert total["warmup_s"] == 90
    # One filter got there after a second, the other never: all of them together never did.
    assert figures[0]["time_to_capacity_s"] == 1
    assert total["time_to_capacity_s"] is None


def test_filters_and_total_have_every_figure_that_a_report_promises():
    figures = filter_figures(facts([job(110, "started", "a")], {"a": 109.0}), 7.5)
    total = total_figures([figures, filter_figures(facts([]), 7.5)], [1.0])
    assert total.keys() >= PROMISED
    assert figures.keys() >= PROMISED | {"signal"}
    assert [total[name] for name in ("time_factor", "hpa_sync_s")] == [7.5, 15]


def test_capacity_is_hoped_for_after_a_warm_up_and_three_looks_of_the_hpa():
    assert filter_figures(facts([], warmup_s=60, hpa_sync_s=15), 1)["capacity_bound_s"] == 105


def report(*, took_s: float | None = 90.0, interrupted: bool = False, **back: bool) -> dict[str, Any]:
    figures = filter_figures(facts([]), 1) | {"time_to_capacity_s": took_s}
    return {
        "interrupted": interrupted,
        "back_at_minimum": back,
        "total": total_figures([figures], []),
        "filters": {"ghibli": figures},
    }


@pytest.mark.parametrize(
    ("of_run", "code"),
    [
        (report(ghibli=True, beard=True), 0),
        (report(ghibli=True, beard=False), 1),
        (report(ghibli=True, beard=False, interrupted=True), 130),
    ],
)
def test_a_filter_that_stays_above_its_minimum_is_a_failure_unless_nobody_waited_for_it(of_run, code):
    assert _code(of_run) == code


@pytest.mark.parametrize(
    ("took_s", "said"),
    [
        (90.0, "after 90.0 s (within 105 s)"),
        (186.0, "after 186.0 s (beyond 105 s)"),
        (None, "capacity never"),
    ],
)
def test_the_time_to_capacity_is_told_beside_its_bound_and_who_is_back_at_the_minimum(capsys, took_s, said):
    _tell(report(took_s=took_s, ghibli=True, beard=False))
    printed = " ".join(capsys.readouterr().out.split())
    assert said in printed
    assert "back at the minimum of workers: all but beard" in printed


def test_a_victim_is_busy_when_it_had_a_job_in_hand_and_only_while_requests_came():
    events = [
        job(110, "started", "a", "w1"),
        job(111, "started", "b", "w2"),
        job(112, "finished", "b", "w2"),
        worker(113, "draining", "w1"),
        worker(113, "draining", "w2"),
        job(114, "finished", "a", "w1"),
        worker(121, "draining", "w3"),
    ]
    figures = filter_figures(facts(events, {"a": 109.0, "b": 110.0, "c": 120.0}), 1)
    assert (figures["victims"], figures["busy_victims"]) == (2, 1)
