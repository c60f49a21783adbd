"""One filter, one law, one run: requests -> queue -> workers -> samples -> law -> HPA -> workers."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, sqrt
from typing import NamedTuple

import numpy as np

from surge.policy.demand import BETA
from surge.policy.history import Sample
from surge.twin.fleet import Fleet
from surge.twin.hpa import Autoscaler, Reading
from surge.twin.laws import Law
from surge.twin.shapes import SHAPES, Multiples, requests

__all__ = ["Outcome", "Scenario", "simulate"]

# At the base load before anything is measured: first without an HPA until every window is whole.
SETTLING_S, RUN_IN_S = 300, 1200

GOLDEN = (sqrt(5) - 1) / 2


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One filter. busy: workers its base load keeps busy. Seconds, a factor for compressed time is in them.

    emit_s: how often the broker refreshes the counts it shows. sample_s: how often the metric server
    reads them. age_s: from a read until the HPA can see what it changed.
    lead_s: scheduling and warm-up. slo_s: a request that waited longer is late.
    """

    busy: float
    shape: str
    seed: int
    service_s: float = 8.0
    lead_s: float = 63.0
    sync_s: float = 15.0
    emit_s: float = 2.0
    sample_s: float = 2.0
    age_s: float = 2.0
    slo_s: float = 60.0
    minimum: int = 1
    idle_first: bool = True

    def load(self) -> Multiples:
        """Busy workers at each second, run-in first."""
        path = SHAPES[self.shape](self.seed) * self.busy
        return np.concatenate([np.full(RUN_IN_S, self.busy), path])


class Outcome(NamedTuple):
    """Of the requests that came after the run-in: late_share, p99 of the wait. gpu_h: one per worker held.

    peak: most workers held. turns: how often growth became shrinking or the reverse.
    """

    late_share: float
    wait_p99_s: float
    gpu_h: float
    peak: int
    turns: int


def simulate(scenario: Scenario, law: Callable[[Scenario], Law]) -> Outcome:
    """Simulate `scenario` under what `law` returns for it. The same arguments give the same outcome."""
    load = scenario.load()
    arrivals, work = requests(load, scenario.service_s, scenario.seed)
    # Nothing below may ask for more: no law that is compared comes near it.
    most = ceil(40 * scenario.busy + 50)
    start = ceil(scenario.busy + BETA["interactive"] * sqrt(scenario.busy))
    fleet = Fleet(arrivals, work, idle=start, most=most, seed=scenario.seed)
    sizes = _play(fleet, law(scenario), scenario, float(len(load)), most)
    return _outcome(fleet, sizes, scenario)


class _Size(NamedTuple):
    at: float
    replicas: int
    held: int
    worker_s: float


def _play(fleet: Fleet, law: Law, scenario: Scenario, end_s: float, most: int) -> list[_Size]:
    autoscaler = Autoscaler(law.behavior, scenario.minimum, most)
    # Where in its period the HPA meets the shape is chance; the golden ratio spreads few seeds evenly.
    phase = scenario.seed * GOLDEN % 1 * scenario.sync_s
    sizes: list[_Size] = []
    unseen: list[tuple[Sample, int]] = []
    sample_at, sync_at, emit_at = 0.0, SETTLING_S + phase, 0.0
    shown, finished = (0, 0, 0), 0
    while min(sample_at, sync_at) < end_s:
        if sample_at <= sync_at:
            fleet.advance(sample_at)
            if sample_at >= emit_at:
                shown, finished = (fleet.unacked, fleet.waiting, fleet.consumers), fleet.finished
                emit_at += scenario.emit_s
            unseen.append((Sample(sample_at, *shown), finished))
            sample_at += scenario.sample_s
            continue
        fleet.advance(sync_at)
        while unseen and unseen[0][0].at <= sync_at - scenario.age_s:
            law.see(*unseen.pop(0))
        reading = Reading(law.metric(sync_at), law.trigger)
        wanted = autoscaler.sync(sync_at, [reading], replicas=fleet.replicas, ready=fleet.ready)
        fleet.resize(wanted, lead_s=scenario.lead_s, idle_first=scenario.idle_first)
        sizes.append(_Size(sync_at, wanted, fleet.held, fleet.worker_s))
        sync_at += scenario.sync_s
    fleet.advance(end_s)
    sizes.append(_Size(end_s, fleet.replicas, fleet.held, fleet.worker_s))
    return sizes


def _outcome(fleet: Fleet, sizes: list[_Size], scenario: Scenario) -> Outcome:
    measured = fleet.arrivals_s >= RUN_IN_S
    waited = np.where(np.isnan(fleet.waited_s), fleet.now_s - fleet.arrivals_s, fleet.waited_s)[measured]
    after = [size for size in sizes if size.at >= RUN_IN_S]
    steps = [later.replicas - sooner.replicas for sooner, later in pairwise(after)]
    moves = [step > 0 for step in steps if step != 0]
    return Outcome(
        late_share=float(np.mean(waited > scenario.slo_s)) if len(waited) else 0.0,
        wait_p99_s=float(np.percentile(waited, 99)) if len(waited) else 0.0,
        gpu_h=(after[-1].worker_s - after[0].worker_s) / 3600,
        peak=max(size.held for size in after),
        turns=sum(one != other for one, other in pairwise(moves)),
    )
