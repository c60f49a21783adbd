"""What the HorizontalPodAutoscaler makes of external metrics.

Follows pkg/controller/podautoscaler of Kubernetes 1.36: the replica calculator for `Value` and
`AverageValue`, the largest of several metrics, then, with `behavior`, the stabilization windows and
after them the policies. tests/local/test_hpa_replay.py holds it against the real controller.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any, Literal, NamedTuple

__all__ = ["AT_ONCE", "Autoscaler", "Reading", "Trigger", "hpa_wanted", "largest_wanted"]

TOLERANCE = 0.1

# Metrics travel as quantities of thousandths.
MILLI = 1000

# A change exactly one period ago is over, whatever the last bit of a float says.
DUST_S = 1e-6

# A behaviour that holds nothing back: for a bound, not for a cluster.
AT_ONCE: dict[str, Any] = {
    way: {
        "stabilizationWindowSeconds": 0,
        "selectPolicy": "Max",
        "tolerance": 0,
        "policies": [{"type": "Pods", "value": 1_000_000, "periodSeconds": 15}],
    }
    for way in ("scaleUp", "scaleDown")
}


class Trigger(NamedTuple):
    metric_type: Literal["Value", "AverageValue"]
    target: float


class Reading(NamedTuple):
    """What a trigger's metric says; None when it cannot be read."""

    metric: float | None
    trigger: Trigger


class Change(NamedTuple):
    at: float
    replicas: int


def hpa_wanted(
    metric: float,
    trigger: Trigger,
    *,
    replicas: int,
    ready: int,
    tolerance_up: float = TOLERANCE,
    tolerance_down: float = TOLERANCE,
) -> int:
    """Return the replicas that one metric asks for, before windows and policies.

    `Value` multiplies the Ready pods, `AverageValue` ignores them. Within the tolerance it is `replicas`.
    """
    usage, target = ceil(metric * MILLI), round(trigger.target * MILLI)
    average = trigger.metric_type == "AverageValue"
    if replicas == 0:
        return ceil(usage / target)
    ratio = usage / (target * replicas) if average else usage / target
    if 1 - tolerance_down <= ratio <= 1 + tolerance_up:
        return replicas
    return ceil(usage / target) if average else ceil(ratio * ready)


def largest_wanted(readings: Sequence[Reading], *, replicas: int, **others: Any) -> int | None:
    """Return the most that any metric asks for; None when none can be read, or when one cannot and
    the others ask for less than there is. `others`: as for `hpa_wanted`."""
    known = [
        hpa_wanted(metric, trigger, replicas=replicas, **others)
        for metric, trigger in readings
        if metric is not None
    ]
    if not known or (len(known) < len(readings) and max(known) < replicas):
        return None
    return max(known)


@dataclass
class Autoscaler:
    """One HPA: its memory of recommendations and of changes. Times: seconds of the caller's clock."""

    behavior: Mapping[str, Any]
    minimum: int
    maximum: int
    recommended: list[Change] = field(default_factory=list)
    ups: list[Change] = field(default_factory=list)
    downs: list[Change] = field(default_factory=list)

    def sync(self, now: float, readings: Sequence[Reading], *, replicas: int, ready: int) -> int:
        """Return the replicas to set at `now`, and remember it.

        Nobody at all is KEDA's business, not the HPA's: no replicas stay none.
        """
        if not self.recommended:
            # A controller that has just started does not scale in within its first window.
            self.recommended.append(Change(now, replicas))
        chosen = self._chosen(now, readings, replicas, ready)
        if chosen > replicas:
            self.ups.append(Change(now, chosen - replicas))
        elif chosen < replicas:
            self.downs.append(Change(now, replicas - chosen))
        return chosen

    def _chosen(self, now: float, readings: Sequence[Reading], replicas: int, ready: int) -> int:
        if replicas == 0:
            return 0
        if not self.minimum <= replicas <= self.maximum:
            return min(max(replicas, self.minimum), self.maximum)
        wanted = largest_wanted(
            readings,
            replicas=replicas,
            ready=ready,
            tolerance_up=float(self.behavior["scaleUp"].get("tolerance", TOLERANCE)),
            tolerance_down=float(self.behavior["scaleDown"].get("tolerance", TOLERANCE)),
        )
        if wanted is None:
            return replicas
        return self._within_policies(now, self._stabilized(now, wanted, replicas), replicas)

    def _stabilized(self, now: float, wanted: int, replicas: int) -> int:
        up_since = now - self.behavior["scaleUp"].get("stabilizationWindowSeconds", 0) + DUST_S
        down_since = now - self.behavior["scaleDown"].get("stabilizationWindowSeconds", 300) + DUST_S
        lowest = min([wanted, *(seen.replicas for seen in self.recommended if seen.at > up_since)])
        highest = max([wanted, *(seen.replicas for seen in self.recommended if seen.at > down_since)])
        kept_since = min(up_since, down_since)
        self.recommended = [seen for seen in self.recommended if seen.at > kept_since]
        self.recommended.append(Change(now, wanted))
        return min(max(replicas, lowest), highest)

    def _within_policies(self, now: float, wanted: int, replicas: int) -> int:
        if wanted > replicas:
            limit = self._limit(now, "scaleUp", replicas)
            return min(wanted, max(limit, replicas), self.maximum)
        if wanted < replicas:
            limit = self._limit(now, "scaleDown", replicas)
            return max(wanted, min(limit, replicas), self.minimum)
        return wanted

    def _limit(self, now: float, way: str, replicas: int) -> int:
        rules = self.behavior[way]
        proposed: list[int] = []
        for policy in rules["policies"]:
            since = now - policy["periodSeconds"] + DUST_S
            added = sum(change.replicas for change in self.ups if change.at > since)
            removed = sum(change.replicas for change in self.downs if change.at > since)
            proposed.append(_proposal(policy, way, replicas - added + removed))
        widest = (max, min) if way == "scaleUp" else (min, max)
        return widest[rules.get("selectPolicy", "Max") == "Min"](proposed)


def _proposal(policy: Mapping[str, Any], way: str, at_start: int) -> int:
    sign = 1 if way == "scaleUp" else -1
    if policy["type"] == "Pods":
        return at_start + sign * policy["value"]
    share = at_start * (1 + sign * policy["value"] / 100)
    return ceil(share) if way == "scaleUp" else int(share)
