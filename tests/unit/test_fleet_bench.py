"""When the fleet's bench takes a cluster for being at rest."""

from itertools import accumulate

import pytest

from lab.bench.fleet import meter
from lab.bench.fleet.meter import until_calm

LOOK_S = 0.01
FULL = meter.CORES * LOOK_S


@pytest.mark.parametrize(
    ("shares", "looks"),
    [
        ([1, 1, 1, 0.7, 0.5, 0.48, 0.47], 6),  # all cores at work, then falling, then no more
        ([0.2, 0.2], 2),  # at rest all the time
        ([0.95, 0.95, 0.6, 0.6], 4),  # less than a tenth is idle
    ],
)
def test_a_cluster_is_at_rest_when_its_load_falls_no_more(shares, looks):
    told = iter(accumulate([0.0, *(share * FULL for share in shares)]))
    asked = []

    def busy_s() -> float:
        asked.append(next(told))
        return asked[-1]

    assert until_calm(busy_s, look_s=LOOK_S) > 0
    assert len(asked) == 1 + looks


def test_a_cluster_that_never_rests_is_not_waited_for_for_ever(monkeypatch):
    monkeypatch.setattr(meter, "LONGEST_CALM_S", 5 * LOOK_S)
    busy = iter(range(1_000))
    assert until_calm(lambda: float(next(busy)), look_s=LOOK_S) >= 5 * LOOK_S


def test_the_machine_tells_its_work():
    before = meter._busy_s()
    sum(range(3_000_000))
    assert meter._busy_s() > before
