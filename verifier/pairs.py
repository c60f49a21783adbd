"""The pairs that run, what HAMi says of their cards, and the same as metrics."""

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import structlog
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from surge.policy.gpu.protocol import ALLOCATED, grants_of

__all__ = ["Pairs", "Verdict", "judged"]

FILTER = "surge.dev/filter"
OVER = ("Succeeded", "Failed")


class Verdict(Enum):
    """UNKNOWN: the annotation is missing, of another form, or has cards of fewer than two containers."""

    TOGETHER = "together"
    APART = "apart"
    UNKNOWN = "unknown"


def judged(pod: Mapping[str, Any]) -> Verdict | None:
    """None for a pod that no node has, or that is over."""
    if not pod["spec"].get("nodeName") or pod.get("status", {}).get("phase") in OVER:
        return None
    try:
        containers = grants_of(pod["metadata"].get("annotations", {}).get(ALLOCATED, ""))
    except ValueError:
        return Verdict.UNKNOWN
    if sum(bool(grants) for grants in containers) < 2:
        return Verdict.UNKNOWN
    cards = {grant.card for grants in containers for grant in grants}
    return Verdict.TOGETHER if len(cards) == 1 else Verdict.APART


@dataclass(frozen=True)
class _Pair:
    filter: str
    verdict: Verdict | None


class Pairs(Collector):
    """Told of pods by one thread, read by another: each pod is replaced as a whole."""

    def __init__(self) -> None:
        self._pairs: dict[str, _Pair] = {}
        self._blind_since: float | None = time.monotonic()
        self._log = structlog.get_logger("surge.verifier")

    def replace(self, pods: Iterable[Mapping[str, Any]]) -> None:
        """These are all pairs there are."""
        listed = list(pods)
        present = {pod["metadata"]["uid"] for pod in listed}
        self._pairs = {uid: pair for uid, pair in self._pairs.items() if uid in present}
        for pod in listed:
            self.see(pod)
        self._blind_since = None

    def see(self, pod: Mapping[str, Any]) -> None:
        metadata, verdict = pod["metadata"], judged(pod)
        known = self._pairs.get(metadata["uid"])
        self._pairs[metadata["uid"]] = _Pair(metadata.get("labels", {}).get(FILTER, ""), verdict)
        if verdict in {Verdict.APART, Verdict.UNKNOWN} and (known is None or known.verdict != verdict):
            self._log.warning(
                "a pair on two cards" if verdict is Verdict.APART else "a pair that does not tell its cards",
                pod=f"{metadata['namespace']}/{metadata['name']}",
                node=pod["spec"]["nodeName"],
                cards=metadata.get("annotations", {}).get(ALLOCATED),
            )

    def forget(self, uid: str) -> None:
        self._pairs.pop(uid, None)

    def lose_sight(self) -> None:
        """Until `replace`, nobody tells us of changes."""
        if self._blind_since is None:
            self._blind_since = time.monotonic()

    def collect(self) -> list[GaugeMetricFamily]:
        counts = Counter((pair.filter, pair.verdict) for pair in list(self._pairs.values()))
        filters = sorted({name for name, verdict in counts if verdict is not None})
        blind = 0.0 if self._blind_since is None else time.monotonic() - self._blind_since
        return [
            _gauge(
                "pairs",
                "Pairs on a node whose cards are known",
                {name: counts[name, Verdict.TOGETHER] + counts[name, Verdict.APART] for name in filters},
            ),
            _gauge(
                "violations",
                "Pairs whose containers hold different cards",
                {name: counts[name, Verdict.APART] for name in filters},
            ),
            _gauge(
                "unknown",
                "Pairs on a node whose annotation does not tell the cards of both containers",
                {name: counts[name, Verdict.UNKNOWN] for name in filters},
            ),
            GaugeMetricFamily(
                "surge_same_gpu_blind_seconds",
                "Since when the API server tells of no pods; 0 while it does",
                blind,
            ),
        ]


def _gauge(name: str, text: str, of_filters: Mapping[str, int]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"surge_same_gpu_{name}", text, labels=["filter"])
    for of_filter, value in of_filters.items():
        family.add_metric([of_filter], value)
    return family
