from itertools import pairwise

import pytest

from toolchain.engine.kubernetes import waiting
from toolchain.engine.kubernetes.kinds import Kind
from toolchain.engine.kubernetes.readiness import Progress

LIVE = {"metadata": {"name": "ghibli", "namespace": "filters"}}


class Clock:
    """Seconds that pass only while somebody waits; stands for `time` and the event that cancels."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now

    def wait(self, seconds: float) -> bool:
        self.now += seconds
        return False

    def is_set(self) -> bool:
        return False


class Cluster:
    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.looks: list[float] = []

    def read(self, *_: object) -> dict:
        self.looks.append(self.clock.now - 1_000)
        return LIVE


@pytest.mark.parametrize(("ready_after_s", "most_looks"), [(0.5, 4), (8, 12), (60, 32), (140, 41)])
def test_a_wait_looks_closely_at_first_and_is_late_by_a_tenth_at_most(monkeypatch, ready_after_s, most_looks):
    clock = Clock()
    cluster = Cluster(clock)
    monkeypatch.setattr(waiting, "time", clock)

    def rule(*_: object) -> Progress:
        return Progress("ready" if clock.now >= 1_000 + ready_after_s else "waiting", "no worker is Ready")

    wait = waiting.Wait(600, clock, lambda _: None)
    assert waiting.until_ready(cluster, Kind("apps/v1", "Deployment"), LIVE, rule, wait) is LIVE
    assert len(cluster.looks) <= most_looks
    assert cluster.looks[-1] - ready_after_s <= max(1, 0.1 * ready_after_s)
    assert max(after - before for before, after in pairwise([0, *cluster.looks])) <= 10
