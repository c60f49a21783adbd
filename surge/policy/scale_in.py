"""Which workers a scale-in should take first: those with nothing in hand.

The ReplicaSet controller sorts the pods it may delete by, in this order (Kubernetes 1.36,
pkg/controller/controller_utils.go, ActivePodsWithRanks.Less): not scheduled, Pending, not Ready, lower
`pod-deletion-cost`, more active pods of the workload on the node, Ready for less time (in powers of two),
more restarts, created later (likewise). So among Ready pods the cost decides before anything else does.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Any, NamedTuple

__all__ = ["COST", "FIRST", "WORTH_S", "Move", "Worker", "is_near", "largest_step", "moves", "with_turns"]

COST = "controller.kubernetes.io/pod-deletion-cost"
# Below the 0 of a pod without the annotation.
FIRST = "-1"

# Seconds of mean work below which marks are too old to tell idle from busy (docs/adr/0010-deletion-cost.md).
WORTH_S = 5.0

# What the HPA says while its last recommendation is below the present number of pods.
GOING_DOWN = {
    ("AbleToScale", "ScaleDownStabilized"),
    ("ScalingLimited", "ScaleDownLimit"),
    ("ScalingLimited", "TooFewReplicas"),
}


@dataclass(frozen=True)
class Worker:
    """jobs: in hand. since: when that number was first seen, any clock. marked: it goes first now."""

    pod: str
    jobs: int
    since: float
    marked: bool


class Move(NamedTuple):
    """Mark the pod, so that it goes first, or take the mark away."""

    pod: str
    mark: bool


def is_near(autoscaler: Mapping[str, Any]) -> bool:
    """Whether the HPA (autoscaling/v2) would remove pods now, if its window or its policies let it.

    It tells no sooner: its desired number and the Deployment's change in the same breath.
    """
    current, least = _bounds(autoscaler)
    status = autoscaler.get("status", {})
    said = {
        (item["type"], item.get("reason"))
        for item in status.get("conditions", [])
        if item["status"] == "True"
    }
    return current > least and (
        status.get("desiredReplicas", current) < current or not GOING_DOWN.isdisjoint(said)
    )


def largest_step(autoscaler: Mapping[str, Any]) -> int:
    """The most pods that the HPA may remove at once, by its `behavior.scaleDown` and its minimum."""
    current, least = _bounds(autoscaler)
    rules = autoscaler["spec"].get("behavior", {}).get("scaleDown", {})
    if rules.get("selectPolicy") == "Disabled":
        return 0
    steps = [_step(policy, current) for policy in rules.get("policies", [])] or [current]
    chosen = min(steps) if rules.get("selectPolicy") == "Min" else max(steps)
    return max(0, min(chosen, current - least))


def moves(workers: Iterable[Worker], step: int) -> list[Move]:
    """What to change so that the `step` workers with least in hand go first, in as few changes as can be.

    A mark stays while its worker is among those. Of equals the one that became so last is marked: the
    broker deals round robin, so it is the last to get a job. When all have the same in hand, none is
    better than another: idle workers keep their marks, busy ones lose them.
    """
    by_load = sorted(workers, key=lambda each: (each.jobs, -each.since, each.pod))
    if not by_load or not by_load[-1].jobs:
        return []
    most, bound = by_load[-1].jobs, by_load[min(max(step, 1), len(by_load)) - 1].jobs
    good = [each for each in by_load if each.jobs <= bound and each.jobs < most]
    kept = sum(each.marked for each in good)
    added = [Move(each.pod, mark=True) for each in good if not each.marked][: max(0, step - kept)]
    keeping = {each.pod for each in good}
    dropped = [Move(each.pod, mark=False) for each in by_load if each.marked and each.pod not in keeping]
    return _alternating([dropped, added])


def with_turns(of_filters: Iterable[list[Move]]) -> list[Move]:
    """The moves of several filters, one of each in turn, so that a limit on all of them starves none."""
    return _alternating(of_filters)


def _alternating(lists: Iterable[list[Move]]) -> list[Move]:
    return [move for move in chain.from_iterable(zip_longest(*lists)) if move is not None]


def _bounds(autoscaler: Mapping[str, Any]) -> tuple[int, int]:
    """(pods now, minimum)."""
    current = autoscaler.get("status", {}).get("currentReplicas", 0)
    return current, autoscaler["spec"].get("minReplicas", 1)


def _step(policy: Mapping[str, Any], current: int) -> int:
    if policy["type"] == "Pods":
        return policy["value"]
    # As the HPA rounds: what is left is cut off to a whole number.
    return current - int(current * (1 - policy["value"] / 100))
