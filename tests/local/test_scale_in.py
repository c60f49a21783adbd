"""Load that comes and goes: scale-ins lose nothing and send nothing back, and take the idle with the cost."""

import os
from collections.abc import Iterator

import pytest

from lab.tide import PLAIN, PRICED, Tide, tide

pytestmark = [pytest.mark.local, pytest.mark.stack, pytest.mark.timeout(7200)]

BASE_PORT = 24_600
TIDE_S = 52  # as long as a tide takes here
MINUTES = float(os.environ.get("SURGE_SOAK_MINUTES", "30"))


@pytest.fixture(scope="module")
def running() -> Iterator[Tide]:
    with tide(BASE_PORT) as made:
        yield made


def check(running: Tide, times: int) -> None:
    report = running.run(times)
    priced, plain = report["filters"][PRICED], report["filters"][PLAIN]
    shown = {name: {key: of[key] for key in SHOWN} for name, of in report["filters"].items()}
    print(shown, "patches:", report["patches"])
    assert not report["interrupted"]
    assert report["patches"] > 0
    assert priced["published"] == plain["published"] > 90 * times
    for of in (priced, plain):
        assert (of["finished"], of["lost"]) == (of["published"], 0)
        assert (of["redelivered_by_scale_in"], of["finished_twice"]) == (0, 0)
        assert of["victims"] >= 4 * times, shown
    assert share(priced) < share(plain), shown


SHOWN = ("published", "finished", "lost", "redelivered", "redelivered_by_scale_in", "victims", "busy_victims")


def share(figures: dict[str, int]) -> float:
    return figures["busy_victims"] / figures["victims"]


def test_three_minutes_of_tides_lose_nothing_and_take_the_idle(running):
    check(running, 3)


@pytest.mark.soak
def test_half_an_hour_of_tides_loses_nothing_and_takes_the_idle(running):
    check(running, round(MINUTES * 60 / TIDE_S))
