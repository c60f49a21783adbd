from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis.strategies import booleans, builds, integers, lists

from surge.policy.scale_in import Move, Worker, is_near, largest_step, moves, with_turns

names = count()
workers = lists(
    builds(
        Worker,
        pod=builds(lambda: f"pod-{next(names)}"),
        jobs=integers(0, 4),
        since=integers(0, 5).map(float),
        marked=booleans(),
    ),
    max_size=30,
)


def hpa(current: int = 20, least: int = 2, **more: Any) -> dict[str, Any]:
    spec = {"minReplicas": least, "behavior": {"scaleDown": more.pop("down", {})}}
    return {"spec": spec, "status": {"currentReplicas": current, "desiredReplicas": current, **more}}


def says(kind: str, reason: str) -> list[dict[str, str]]:
    return [{"type": kind, "status": "True", "reason": reason}]


@pytest.mark.parametrize(
    ("autoscaler", "near"),
    [
        (hpa(), False),
        (hpa(desiredReplicas=19), True),
        (hpa(conditions=says("AbleToScale", "ScaleDownStabilized")), True),
        (hpa(conditions=says("ScalingLimited", "ScaleDownLimit")), True),
        (hpa(conditions=says("AbleToScale", "ReadyForNewScale")), False),
        (hpa(conditions=says("ScalingLimited", "TooManyReplicas")), False),
        (hpa(current=2, conditions=says("ScalingLimited", "TooFewReplicas")), False),
        ({"spec": {"minReplicas": 1}}, False),
    ],
)
def test_a_scale_in_is_near_while_the_hpa_would_have_fewer_pods_and_may(autoscaler, near):
    assert is_near(autoscaler) is near


@pytest.mark.parametrize(
    ("down", "step"),
    [
        ({}, 18),
        ({"policies": [{"type": "Percent", "value": 10}]}, 2),
        ({"policies": [{"type": "Percent", "value": 12}]}, 3),
        ({"policies": [{"type": "Percent", "value": 10}, {"type": "Pods", "value": 5}]}, 5),
        (
            {
                "selectPolicy": "Min",
                "policies": [{"type": "Percent", "value": 10}, {"type": "Pods", "value": 5}],
            },
            2,
        ),
        ({"selectPolicy": "Disabled"}, 0),
    ],
)
def test_the_largest_step_is_what_policies_and_minimum_leave(down, step):
    assert largest_step(hpa(down=down)) == step


def test_of_idle_workers_the_one_that_became_so_last_is_marked_as_it_is_the_last_to_get_a_job():
    fleet = [Worker("busy", 1, 0, marked=False), Worker("long", 0, 1, marked=False)]
    assert moves([*fleet, Worker("fresh", 0, 9, marked=False)], 1) == [Move("fresh", mark=True)]


def test_a_mark_moves_when_its_worker_got_a_job():
    fleet = [Worker("a", 1, 5, marked=True), Worker("b", 0, 3, marked=False), Worker("c", 1, 4, marked=False)]
    assert moves(fleet, 1) == [Move("a", mark=False), Move("b", mark=True)]


def test_nothing_changes_while_all_are_idle_and_no_busy_worker_keeps_its_mark_when_all_are_busy():
    assert moves([Worker("a", 0, 1, marked=True), Worker("b", 0, 2, marked=False)], 2) == []
    assert moves([Worker("a", 2, 1, marked=True), Worker("b", 2, 2, marked=False)], 1) == [
        Move("a", mark=False)
    ]


def test_a_worker_of_many_slots_is_better_the_less_it_has_in_hand():
    fleet = [Worker(f"{jobs}", jobs, 0, marked=jobs == 5) for jobs in (8, 5, 3, 7)]
    assert set(moves(fleet, 1)) == {Move("5", mark=False), Move("3", mark=True)}


@given(workers, integers(0, 40))
def test_after_the_moves_as_many_as_can_go_first_are_marked_and_nothing_is_left_to_do(fleet, step):
    wanted = dict(moves(fleet, step))
    after = [Worker(each.pod, each.jobs, each.since, wanted.get(each.pod, each.marked)) for each in fleet]
    assert moves(after, step) == []
    most = max((each.jobs for each in after), default=0)
    if most:
        assert all(each.jobs < most for each in after if each.marked)
        better = sum(each.jobs < most for each in after)
        assert sum(each.marked for each in after) >= min(step, better)


@given(workers, integers(1, 40))
def test_the_marked_never_have_more_in_hand_than_one_that_was_passed_over(fleet, step):
    wanted = dict(moves(fleet, step))
    added = [each.jobs for each in fleet if wanted.get(each.pod)]
    passed = [each.jobs for each in fleet if not wanted.get(each.pod, each.marked)]
    assert max(added, default=0) <= min(passed, default=9)


def test_a_limit_on_all_changes_starves_no_filter():
    one, two = [Move(f"a{n}", mark=True) for n in range(3)], [Move("b", mark=True)]
    assert [move.pod for move in with_turns([one, two])] == ["a0", "b", "a1", "a2"]
