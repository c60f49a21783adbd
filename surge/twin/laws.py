"""Laws that turn samples into the one number an HPA reads."""

from collections.abc import Mapping
from math import ceil, sqrt
from typing import Any, Protocol

import numpy as np

from surge.policy import scaling
from surge.policy.demand import BETA, WINDOWS_S, demand
from surge.policy.history import History, Sample
from surge.policy.service_time import ServiceTime
from surge.policy.signal import active_ratio
from surge.policy.timescale import TimeScale
from surge.twin.hpa import AT_ONCE, Trigger
from surge.twin.shapes import Multiples

__all__ = [
    "BusyAndBacklog",
    "CaseStudy",
    "Clairvoyant",
    "Demanded",
    "DemandedLearning",
    "Law",
    "QueueLength",
    "ThreeWindows",
]

REAL_TIME = TimeScale(1.0)
NOTHING = Sample(0.0, 0.0, 0.0)
TARGET = 0.7
COUNTED_S = 10.0


class Law(Protocol):
    """trigger, behavior: what KEDA and the HPA are told. see: called with each sample, in order."""

    @property
    def trigger(self) -> Trigger: ...
    @property
    def behavior(self) -> Mapping[str, Any]: ...
    def see(self, sample: Sample, finished: int) -> None: ...
    def metric(self, now_s: float) -> float: ...


class _OnLastSample:
    """Laws on the last sample alone, with the HPA's default behaviour."""

    behavior = scaling.ratio_behavior(REAL_TIME)
    last = NOTHING

    def see(self, sample: Sample, finished: int) -> None:
        self.last = sample


class CaseStudy(_OnLastSample):
    """unacked / consumers, steered to 0.7."""

    trigger = Trigger("Value", TARGET)

    def metric(self, now_s: float) -> float:
        return active_ratio(self.last.unacked, self.last.consumers, self.last.ready)


class QueueLength(_OnLastSample):
    """KEDA's rabbitmq scaler over HTTP: ready and unacked, as many a worker as half of slo_s allows."""

    def __init__(self, service_s: float, slo_s: float = 60.0) -> None:
        self.trigger = Trigger("AverageValue", max(1.0, slo_s / 2 / service_s))

    def metric(self, now_s: float) -> float:
        return self.last.unacked + self.last.ready


class _OnHistory(_OnLastSample):
    """Laws on the samples of a while, which say how many workers they want."""

    trigger = Trigger("AverageValue", 1.0)

    def __init__(self, horizon_s: float, service_s: float) -> None:
        self.service_s = service_s
        self.history = History(horizon_s, service_s)

    def see(self, sample: Sample, finished: int) -> None:
        super().see(sample, finished)
        self.history.append(sample.at, sample.unacked, sample.ready)


class BusyAndBacklog(_OnHistory):
    """(mean of U over a minute + B·S/30) / 0.7."""

    def __init__(self, service_s: float) -> None:
        super().__init__(60.0, service_s)

    def metric(self, now_s: float) -> float:
        return (self.history.window(60.0).mean_unacked + self.last.ready * self.service_s / 30.0) / TARGET


class ThreeWindows(_OnHistory):
    """The law that `demand` had to beat.

    The load of 300 s, or of 60 s when that differs by two deviations, or of 15 s when that is 2.5 above.
    The smaller of two backlogs: what waits, within a minute; what will wait when workers ordered now come,
    within two. A dead band of 7 % and a down window of 90 s.
    """

    def __init__(self, service_s: float, *, lead_s: float) -> None:
        super().__init__(300.0, service_s)
        usual = scaling.demand_behavior(REAL_TIME)
        self.behavior = {
            "scaleUp": {**usual["scaleUp"], "tolerance": 0.07},
            "scaleDown": {**usual["scaleDown"], "tolerance": 0.07, "stabilizationWindowSeconds": 90},
        }
        self.lead_s = lead_s

    def metric(self, now_s: float) -> float:
        load, ready = self._load(), self.last.ready
        expected = max(0.0, ready + (load - self.last.consumers) * self.lead_s / self.service_s)
        backlog = min(ready, expected / 2) * self.service_s / 60.0
        return load + max(BETA["interactive"] * sqrt(load), backlog)

    def _load(self) -> float:
        load, minute, quarter = (
            self.history.window(length).load(self.service_s, 15.0) for length in (300.0, 60.0, 15.0)
        )
        if abs(minute - load) > 2.0 * self._deviation(load, 60.0):
            load = minute
        return quarter if quarter - load > 2.5 * self._deviation(load, 15.0) else load

    def _deviation(self, load: float, window_s: float) -> float:
        return sqrt(1.5 * load * self.service_s / window_s)


class Demanded(_OnHistory):
    """What the metric server serves: its history and its function, and the behaviour a filter gets.

    service_s, lead_s: what the catalogue says, which may be wrong.
    """

    def __init__(
        self,
        service_s: float,
        *,
        lead_s: float = 63.0,
        drain_s: float = 60.0,
        beta: float = BETA["interactive"],
        behavior: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(WINDOWS_S[-1], service_s)
        self.behavior = scaling.demand_behavior(REAL_TIME) if behavior is None else behavior
        self.lead_s, self.drain_s, self.beta = lead_s, drain_s, beta
        self.known = 0.0

    def metric(self, now_s: float) -> float:
        return demand(
            self.history.windows(WINDOWS_S),
            self.last,
            service_s=self.service_s,
            slots=1,
            drain_s=self.drain_s,
            lead_s=self.lead_s,
            beta=self.beta,
            known=self.known,
            windows_s=WINDOWS_S,
        ).desired_workers


class DemandedLearning(Demanded):
    """The same with the service time learnt from acknowledgements that are read every COUNTED_S."""

    def __init__(self, service_s: float, **others: Any) -> None:
        super().__init__(service_s, **others)
        self.learnt = ServiceTime(service_s)
        self.counted_at, self.finished = -COUNTED_S, 0

    def see(self, sample: Sample, finished: int) -> None:
        super().see(sample, finished)
        if sample.at >= self.counted_at + COUNTED_S:
            self.learnt.append(sample.at, finished - self.finished, self.history.busy_s)
            self.counted_at, self.finished = sample.at, finished
            self.service_s, self.known = self.learnt.seconds, self.learnt.known


class Clairvoyant:
    """Knows the load to come: square-root staffing of the most until workers ordered next would help.

    Nothing holds it back, so it is a bound for whoever staffs by the same rule.
    """

    trigger = Trigger("AverageValue", 1.0)
    behavior = AT_ONCE

    def __init__(
        self, load: Multiples, *, lead_s: float, sync_s: float, beta: float = BETA["interactive"]
    ) -> None:
        self.load, self.ahead_s, self.beta = load, ceil(lead_s + sync_s), beta

    def see(self, sample: Sample, finished: int) -> None:
        pass

    def metric(self, now_s: float) -> float:
        first = min(int(now_s), len(self.load) - 1)
        most = float(np.max(self.load[first : first + self.ahead_s]))
        return most + self.beta * sqrt(most)
