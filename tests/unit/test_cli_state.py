"""When is the loop closed, and how is it shown?"""

import json
from types import SimpleNamespace

import pytest

from surge.cli.kubernetes_client import Workers, workers_of_jobs
from surge.cli.loop import summary, wait_closed
from surge.cli.reading import filter_states
from surge.cli.saturation_client import Answer
from surge.cli.state import FilterState, ProcessState, Snapshot, health, hpa_state, open_ends
from surge.cli.tables import FILTER_COLUMNS, as_json, filter_rows, plain, process_rows

ETCD = ProcessState(name="etcd", state="RUNNING", pid=7, ports=(21000, 21001))


def state(**changes) -> FilterState:
    usual = {
        "name": "ghibli",
        "signal": "demand",
        "minimum": 10,
        "maximum": 110,
        "desired": 10,
        "ready": 10,
        "busy": 7,
        "backlog": 0,
        "ratio": 0.7,
        "age_s": 0.2,
    }
    return FilterState(**{**usual, **changes})


def snapshot(*filters: FilterState, processes=(ETCD,), problems=()) -> Snapshot:
    return Snapshot(filters=filters or (state(),), processes=processes, problems=problems)


def test_a_loop_with_its_minimum_ready_and_every_reading_there_is_closed():
    assert open_ends(snapshot()) == []
    assert health(snapshot()) == 0


@pytest.mark.parametrize(
    ("changes", "end"),
    [
        ({"ready": 9}, "ghibli: 9 of 10 workers Ready"),
        ({"ready": None}, "ghibli: unknown of 10 workers Ready"),
        ({"metric": "HTTP 503"}, "ghibli: no saturation, HTTP 503"),
        ({"hpa": "no reading yet"}, "ghibli: HPA without a metric, no reading yet"),
    ],
)
def test_each_open_end_is_named(changes, end):
    assert open_ends(snapshot(state(**changes))) == [end]
    assert health(snapshot(state(**changes))) == 1


def test_a_dead_process_opens_the_loop_and_a_stack_without_any_does_not_run():
    dead = ProcessState(name="etcd", state="EXITED")
    assert open_ends(snapshot(processes=(dead,))) == ["process etcd is exited"]
    nothing = snapshot(state(ready=None), processes=(dead,))
    assert health(nothing) == 2


def test_a_filter_that_rests_at_zero_is_closed_without_a_worker():
    resting = state(minimum=0, desired=0, ready=0, hpa=hpa_state(DISABLED, minimum=0))
    assert open_ends(snapshot(resting)) == []


DISABLED = [{"type": "ScalingActive", "status": "False", "reason": "ScalingDisabled", "message": "off"}]
ACTIVE = [{"type": "ScalingActive", "status": "True", "reason": "ValidMetricFound", "message": ""}]
FAILED = [{"type": "ScalingActive", "status": "False", "reason": "FailedGetExternalMetric", "message": "no"}]


def test_an_hpa_is_well_only_with_a_current_metric():
    assert hpa_state(ACTIVE, minimum=1) == "ok"
    assert hpa_state(FAILED, minimum=1) == "no"
    assert hpa_state(DISABLED, minimum=1) == "off"
    assert hpa_state(DISABLED, minimum=0) == "at rest"
    assert hpa_state([], minimum=1) == hpa_state(None, minimum=1) == "no reading yet"


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_waiting_ends_when_the_loop_closes_and_says_each_change_once():
    readings = iter([snapshot(state(ready=0))] * 3 + [snapshot(state(hpa="no"))] + [snapshot()] * 2)
    told: list[str] = []
    clock = Clock()
    closing = wait_closed(lambda: next(readings), told.append, clock=clock, sleep=clock.sleep)
    assert closing.closed
    assert closing.took_s == 4
    assert told == ["1 wait for workers", "1 wait for their HPA's first metric"]


def test_waiting_is_bounded_and_can_be_interrupted():
    clock = Clock()
    stuck = snapshot(state(ready=0))
    late = wait_closed(lambda: stuck, lambda _: None, patience_s=5, clock=clock, sleep=clock.sleep)
    assert (late.closed, late.took_s) == (False, 5)
    stopped = wait_closed(
        lambda: stuck, lambda _: None, interrupted=lambda: True, clock=clock, sleep=clock.sleep
    )
    assert (stopped.closed, stopped.took_s) == (False, 0)


def test_open_ends_are_counted_by_kind():
    ends = open_ends(snapshot(state(ready=0), state(name="anime", ready=1), problems=["no API server"]))
    assert summary(ends) == "1 readings missing, 2 wait for workers"


def test_three_sources_are_put_side_by_side_and_the_unknown_stays_unknown():
    filters = {"b": {"signal": "ratio", "min": 1, "max": 4}, "a": {"signal": "demand", "min": 1, "max": 4}}
    answer = Answer(200, {"unacked": 3, "ready": 5, "active_ratio": 1.0, "age_s": 0.5})
    first, second = filter_states(
        filters,
        {"a": Workers(desired=3, ready=2, conditions=ACTIVE)},
        {"a": answer, "b": Answer(503, {}, "stale")},
    )
    assert (first.name, first.desired, first.ready, first.busy, first.backlog) == ("a", 3, 2, 3, 5)
    assert (first.metric, first.hpa) == ("ok", "ok")
    assert (second.ready, second.busy, second.metric, second.hpa) == (None, None, "stale", "no reading yet")


def test_a_filter_that_runs_as_jobs_has_as_many_workers_as_jobs_that_are_active_and_none_at_rest():
    def job(name: str, **status: int) -> SimpleNamespace:
        labels = {"scaledjob.keda.sh/name": name}
        told = {"active": None, "ready": None, **status}
        return SimpleNamespace(metadata=SimpleNamespace(labels=labels), status=SimpleNamespace(**told))

    seen = workers_of_jobs([job("films", active=1, ready=1), job("films", active=1), job("films")])
    summary = {"signal": "demand", "min": 0, "max": 4, "runs_as_jobs": True}
    busy, idle = filter_states({"films": summary, "scans": summary}, seen, {})
    assert (busy.desired, busy.ready, busy.hpa) == (2, 1, "ok")
    assert (idle.desired, idle.ready, idle.hpa) == (0, 0, "at rest")


def test_a_pooled_filter_shows_its_own_work_and_the_workers_of_its_set():
    warm = {"signal": "demand", "min": 2, "max": 9}
    set_of_two, member = filter_states(
        {"warm": warm, "wink": {**warm, "worker_set": "warm"}},
        {"warm": Workers(desired=4, ready=3, conditions=ACTIVE)},
        {
            "warm": Answer(200, {"unacked": 3, "ready": 5, "active_ratio": 0.75}),
            "wink": Answer(200, {"unacked": 1, "ready": 0, "active_ratio": 1.0}),
        },
    )
    assert (set_of_two.signal, set_of_two.busy, set_of_two.ratio) == ("demand", 3, 0.75)
    assert (member.signal, member.busy, member.backlog) == ("set warm", 1, 0)
    assert (member.ready, member.desired, member.ratio, member.hpa) == (3, 4, 0.75, "ok")


def test_rows_show_unknown_as_a_question_mark_and_never_as_zero():
    [row] = filter_rows([state(ready=None, busy=None, ratio=None, age_s=None)])
    assert row == ("ghibli", "demand", "10/110", "10", "?", "?", "0", "?", "?", "below min")


def test_plain_tables_align_and_leave_no_trailing_blanks():
    text = plain(FILTER_COLUMNS, filter_rows([state(), state(name="a")]))
    header, *rows = text.splitlines()
    assert header.index("signal") == rows[0].index("demand") == rows[1].index("demand")
    assert all(line == line.rstrip() for line in (header, *rows))


def test_processes_show_where_they_listen():
    assert process_rows([ETCD]) == [("etcd", "127.0.0.1:21000, 127.0.0.1:21001", "7", "running")]


def test_json_keeps_null_for_what_is_not_known():
    document = json.loads(json.dumps(as_json(snapshot(state(ready=None)))))
    assert document["filters"]["ghibli"]["ready"] is None
    assert document["health"] == "degraded"
    assert document["processes"]["etcd"]["ports"] == [21000, 21001]
